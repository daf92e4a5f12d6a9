//! A program's random writes: drained, laid over, committed and folded, they
//! leave the picture that the program left.
use super::*;

pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Dice {
        Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed))
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn list(&mut self) -> String {
        let entries: Vec<_> = (0..self.roll(4)).map(|at| format!("\"{at}\"")).collect();
        format!("'[{}]'", entries.join(","))
    }

    fn statement(&mut self) -> String {
        let id = row(self.roll(5));
        let (name, stock, tags) = (self.roll(3), self.roll(9), self.list());
        let values = format!("('{id}', 'n{name}', {stock}, {tags}, {stock})");
        let into = "INTO place(id, name, stock, tags, height) VALUES";
        match self.roll(9) {
            0 | 1 => format!("INSERT OR IGNORE {into} {values}"),
            2 => format!("INSERT OR REPLACE {into} {values}"),
            3 => format!(
                "INSERT {into} {values} ON CONFLICT DO UPDATE SET stock = stock + excluded.stock"
            ),
            4 => format!("UPDATE place SET stock = stock - {stock}, name = NULL WHERE id = '{id}'"),
            5 => format!("UPDATE place SET tags = {tags}, open = {} WHERE id >= '{id}'", stock % 2),
            6 => format!(
                "UPDATE OR REPLACE place SET height = -{stock}, name = 'x' WHERE id = '{id}'"
            ),
            7 => format!(
                "UPDATE place SET notes = '[\"{name}\"]' WHERE id = '{id}' AND notes IS NULL"
            ),
            _ => format!("DELETE FROM place WHERE id = '{id}'"),
        }
    }
}

/// An empty set and none are the same; entries of an append stay through a REPLACE.
fn picture(village: &Village) -> String {
    village.text(
        "SELECT group_concat(id || '|' || quote(name) || quote(stock) || quote(height)
             || quote(nullif(tags, '[]')) || quote(open), char(10))
         FROM (SELECT * FROM place ORDER BY id)",
    )
}

#[test]
fn the_picture_survives_drain_commit_and_fold() {
    for seed in 1..=25 {
        let mut dice = Dice::of(seed);
        let mut village = Village::new();
        let program = village.program();
        let mut head = 0;
        for _ in 0..6 {
            program.pragma_update(None, "recursive_triggers", dice.roll(2) == 0).unwrap();
            for _ in 0..dice.roll(12) {
                program.execute_batch(&dice.statement()).unwrap();
            }
            let left = picture(&village);
            village.drain();
            assert_eq!(picture(&village), left, "seed {seed}: drained");
            if dice.roll(3) == 0 {
                village.crash();
            }
            // The hub applies what it gets; the page of this round ends before that.
            let to = head;
            let waiting = village.store().waiting();
            head += waiting;
            let outcomes = if waiting > 0 { applied(waiting as u32, to + 1) } else { vec![] };
            village.round(&page(to, vec![]), outcomes);
            assert_eq!(picture(&village), left, "seed {seed}: committed");
        }
        let left = picture(&village);
        village.round(&page(head, vec![]), vec![]);
        assert_eq!(picture(&village), left, "seed {seed}: folded");
        let rest = "SELECT (SELECT count(*) FROM wadi_change WHERE laid = 1) || '|' ||
                    (SELECT count(*) FROM wadi_row WHERE base IS NOT NULL)";
        assert_eq!(village.text(rest), "0|0", "seed {seed}");
    }
}
