//! Chance, the same everywhere: from a seed, in integers.

pub struct Dice(u64);

const SYLLABLES: [&str; 24] = [
    "ka", "lo", "mi", "ter", "an", "su", "ro", "bel", "in", "da", "no", "ver", "es", "pa", "ti",
    "mun", "e", "gar", "la", "sho", "o", "re", "wi", "tal",
];

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `sides` - 1.
    pub fn below(&mut self, sides: u64) -> u64 {
        (self.next() >> 16) % sides.max(1)
    }

    /// One time in so many.
    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    /// `from` to `to`, both included.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from + 1) as u64) as i64
    }

    /// About 0, mostly within `width`, as measurements scatter.
    pub fn noise(&mut self, width: i64) -> i64 {
        (0..4).map(|_| self.between(-width, width)).sum::<i64>() / 2
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// One of them, the first ones far more often.
    pub fn usual<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let len = of.len() as u64;
        let at = self.below(len).min(self.below(len)).min(self.below(len));
        &of[at as usize]
    }

    /// A random UUID.
    pub fn uuid(&mut self) -> String {
        let high = self.next() & !0xf000 | 0x4000;
        let low = self.next() >> 2 | 1 << 63;
        let hex = format!("{high:016x}{low:016x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// A made-up word.
    pub fn word(&mut self) -> String {
        let count = 1 + self.below(3) + self.below(2);
        (0..count).map(|_| *self.usual(&SYLLABLES)).collect()
    }

    /// Made-up words, each other than the rest.
    pub fn words(&mut self, count: usize) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        while words.len() < count {
            let word = self.word() + if words.len() > 300 { *self.pick(&SYLLABLES) } else { "" };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    /// A name of two words.
    pub fn name(&mut self, first: &[String], last: &[String]) -> String {
        format!("{} {}", large(self.usual::<String>(first)), large(self.usual::<String>(last)))
    }

    /// Sentences of about so many words.
    pub fn prose(&mut self, of: &[String], count: u64) -> String {
        let mut text = String::new();
        let mut starts = true;
        for _ in 0..count {
            let word = self.usual(of).clone();
            text += &if starts { large(&word) } else { word };
            starts = self.one_in(9);
            text += if starts { ". " } else { " " };
        }
        text.trim_end().trim_end_matches('.').to_string() + "."
    }
}

/// With a capital letter.
pub fn large(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().collect::<String>() + letters.as_str())
}

/// A decimal of so many places.
pub fn decimal(number: i64, places: u32) -> serde_json::Value {
    let text = format!("{}", number as f64 / 10f64.powi(places as i32));
    text.parse::<serde_json::Number>().map_or(serde_json::Value::Null, Into::into)
}

/// A day since 1970 as text.
pub fn day(days: u64) -> String {
    let (mut year, mut rest) = (1970, days);
    let of = |year: u64, every: u64| year.is_multiple_of(every);
    let leap = |year: u64| of(year, 4) && (!of(year, 100) || of(year, 400));
    let months =
        |year: u64| [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while rest >= months(year).iter().sum() {
        rest -= months(year).iter().sum::<u64>();
        year += 1;
    }
    let mut month = 0;
    while rest >= months(year)[month] {
        rest -= months(year)[month];
        month += 1;
    }
    format!("{year:04}-{:02}-{:02}", month + 1, rest + 1)
}

/// Seconds since 1970 as a time in UTC, to the second or the minute.
pub fn time(seconds: u64, to_second: bool) -> String {
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    let second = if to_second { format!(":{:02}", seconds % 60) } else { String::new() };
    format!("{}T{hour:02}:{minute:02}{second}Z", day(seconds / 86_400))
}
