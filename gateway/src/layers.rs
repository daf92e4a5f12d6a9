//! Configuration in layers: files and environment variables, each value with the
//! name of where it came from.
//!
//! A layer is judged alone before it is laid over those below, so that an unknown
//! or bad key names its own file or variable. Knows nothing of what the keys mean.
//! The gateway and the hub each have this file, word for word; neither imports
//! the other.
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use config::{FileFormat, Format, Map, Source, Value, ValueKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// Bytes of one configuration file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files in `conf.d`.
pub const FILES_MAX: usize = 256;
/// Parts of a variable's name, as in `WADI_BROKER__PORT`.
const PARTS_MAX: usize = 4;
/// Variables with this prefix are configuration.
const PREFIX: &str = "WADI_";
/// Except this one, which the log reads.
const LOG_VARIABLE: &str = "WADI_LOG";

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("configuration {origin}: {reason}")]
pub struct ConfigError {
    /// The file or the variable.
    pub origin: String,
    /// The key, what is wrong with it, what to do.
    pub reason: String,
}

/// Values that came from one place.
#[derive(Clone, Debug)]
pub struct Layer {
    origin: String,
    values: Map<String, Value>,
}

/// Where the value of each key came from.
#[derive(Clone, Default, Debug)]
pub struct Origins(BTreeMap<String, String>);

impl Layer {
    /// Values by dotted key, as a program has them.
    pub fn new(origin: &str, values: impl IntoIterator<Item = (String, ValueKind)>) -> Layer {
        let from = origin.to_string();
        let values = values.into_iter().map(|(key, kind)| (key, Value::new(Some(&from), kind)));
        Layer { values: values.collect(), origin: from }
    }

    /// A TOML file. Only a regular file of a sane size is read at all.
    pub fn file(path: &Path) -> Result<Layer, ConfigError> {
        let origin = path.display().to_string();
        let bad = |reason: String| ConfigError { origin: origin.clone(), reason };
        let metadata = std::fs::metadata(path).map_err(|error| bad(unreadable(&error)))?;
        if !metadata.is_file() {
            return Err(bad("this is not a regular file; give a TOML file".into()));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| bad(unreadable(&error)))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(bad(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count();
            bad(format!("line {line} is not UTF-8 text"))
        })?;
        let values = FileFormat::Toml
            .parse(Some(&origin), &text)
            .map_err(|error| bad(without_snippet(&error.to_string())))?;
        for (key, value) in &values {
            plain(key, value).map_err(bad)?;
        }
        Ok(Layer { values, origin })
    }

    /// The files `conf.d/*.toml` beside a file, in the order of their names.
    pub fn beside(file: &Path) -> Result<Vec<Layer>, ConfigError> {
        let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
        let bad = |reason: String| ConfigError { origin: folder.display().to_string(), reason };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(bad(unreadable(&error))),
        };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| bad(unreadable(&error)))?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
            if !hidden && path.extension().is_some_and(|ending| ending == "toml") {
                files.push(path);
            }
            if files.len() > FILES_MAX {
                return Err(bad(format!("it holds more than {FILES_MAX} files; join some")));
            }
        }
        files.sort();
        files.iter().map(|path| Layer::file(path)).collect()
    }

    /// The variables `WADI_…` of the environment, each a layer of its own.
    pub fn environment(
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Vec<Layer>, ConfigError> {
        let mut layers = Vec::new();
        for (name, value) in variables {
            let name = name.to_string_lossy().into_owned();
            let Some(key) = name.strip_prefix(PREFIX).filter(|_| name != LOG_VARIABLE) else {
                continue;
            };
            let bad = |reason: &str| ConfigError { origin: name.clone(), reason: reason.into() };
            let key = key.to_lowercase().replace("__", ".");
            if key.split('.').count() > PARTS_MAX || !key.split('.').all(is_plain) {
                return Err(bad(
                    "unknown key; variables are named like WADI_DATABASE or WADI_BROKER__PORT",
                ));
            }
            let value = value.into_string().map_err(|_| bad("its value is not UTF-8 text"))?;
            layers.push(Layer::new(&name, [(key, ValueKind::String(value))]));
        }
        layers.sort_by(|a, b| a.origin.cmp(&b.origin));
        Ok(layers)
    }

    /// Judged alone: every key known, every value of its kind.
    fn judge<T: DeserializeOwned + Serialize>(&self) -> Result<(), ConfigError> {
        let bad = |reason: String| ConfigError { origin: self.origin.clone(), reason };
        let read = build(std::slice::from_ref(self)).and_then(|tree| {
            let leaves = leaves(&tree.cache);
            Ok((leaves, tree.try_deserialize::<T>()?))
        });
        let (leaves, values) = read.map_err(|error| {
            let reason = error.to_string().replace(&format!(" in {}", self.origin), "");
            let hidden = reason.rsplit_once("for key `").is_some_and(|(_, key)| is_secret(key));
            bad(if hidden && !reason.starts_with("unknown") {
                let key = reason.rsplit_once("for key ").map_or("", |(_, key)| key);
                format!("its value cannot be used (and is not shown) for key {key}")
            } else {
                reason
            })
        })?;
        // The crate turns what it finds into what is asked for; a rounded port is no port.
        let values = serde_json::to_value(&values).unwrap_or_default();
        for (key, value) in leaves {
            let pointer = format!("/{}", key.replace("].", "/").replace(['.', '['], "/"));
            let wants_bool = values.pointer(&pointer).is_some_and(Json::is_boolean);
            match value.kind {
                ValueKind::Float(_) => return Err(bad(format!("{key}: no key takes a fraction"))),
                ValueKind::Boolean(_) if !wants_bool => {
                    return Err(bad(format!("{key}: a boolean does not fit here")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.values.clone())
    }
}

impl Origins {
    /// The file or variable that gave a key; none if it is a default.
    pub fn of(&self, key: &str) -> Option<&str> {
        let mut from = self.0.range(key.to_string()..);
        let below = |name: &str| {
            name.strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let found = from.by_ref().take_while(|(name, _)| name.starts_with(key));
        found.into_iter().find(|(name, _)| below(name)).map(|(_, origin)| origin.as_str())
    }
}

/// Lay layers over each other, the first lowest.
pub fn lay<T: DeserializeOwned + Serialize>(layers: &[Layer]) -> Result<(T, Origins), ConfigError> {
    for layer in layers {
        layer.judge::<T>()?;
    }
    let together = |error: config::ConfigError| ConfigError {
        origin: "of all files and variables together".into(),
        reason: error.to_string(),
    };
    let tree = build(layers).map_err(together)?;
    let origins = leaves(&tree.cache)
        .into_iter()
        .map(|(key, value)| (key, value.origin().unwrap_or("default").to_string()))
        .collect();
    Ok((tree.try_deserialize().map_err(together)?, Origins(origins)))
}

/// Every key with its value and where that came from, one a line.
pub fn effective(values: &impl Serialize, origins: &Origins) -> String {
    let mut lines = Vec::new();
    flatten("", &serde_json::to_value(values).unwrap_or_default(), &mut lines);
    let mut text = String::new();
    for (key, value) in lines {
        let origin = origins.of(&key).unwrap_or("default");
        let shown = match value {
            Json::Null => "(not set)".into(),
            _ if is_secret(&key) => "(hidden)".into(),
            value => value.to_string(),
        };
        text += &format!("{:<40} # {origin}\n", format!("{key} = {shown}"));
    }
    text
}

fn flatten(key: &str, value: &Json, lines: &mut Vec<(String, Json)>) {
    let dotted = |name: &str| if key.is_empty() { name.into() } else { format!("{key}.{name}") };
    match value {
        Json::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| flatten(&dotted(name), value, lines));
        }
        Json::Array(items) if !items.is_empty() => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(at, item)| flatten(&format!("{key}[{at}]"), item, lines));
        }
        leaf => lines.push((key.into(), leaf.clone())),
    }
}

fn build(layers: &[Layer]) -> Result<config::Config, config::ConfigError> {
    layers.iter().fold(config::Config::builder(), |all, one| all.add_source(one.clone())).build()
}

fn leaves(value: &Value) -> Vec<(String, Value)> {
    match &value.kind {
        ValueKind::Table(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                leaves(value).into_iter().map(move |(below, leaf)| match below.as_str() {
                    "" => (name.clone(), leaf),
                    below if below.starts_with('[') => (format!("{name}{below}"), leaf),
                    below => (format!("{name}.{below}"), leaf),
                })
            })
            .collect(),
        ValueKind::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(at, item)| {
                leaves(item).into_iter().map(move |(below, leaf)| match below.as_str() {
                    "" => (format!("[{at}]"), leaf),
                    below => (format!("[{at}].{below}"), leaf),
                })
            })
            .collect(),
        _ => vec![(String::new(), value.clone())],
    }
}

/// The crate reads a key as a path (`a.b[7]`); a file is not to say such things.
fn plain(key: &str, value: &Value) -> Result<(), String> {
    if !is_plain(key) {
        return Err(format!("unknown key {key:?}"));
    }
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match &value.kind {
            ValueKind::Array(items) => waiting.extend(items),
            ValueKind::Table(fields) => {
                if let Some(key) = fields.keys().find(|key| !is_plain(key)) {
                    return Err(format!("unknown key {key:?}"));
                }
                waiting.extend(fields.values());
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_plain(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether a key's value is not for logs and screens.
fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).trim_end_matches('`').to_lowercase();
    ["secret", "password", "token"].iter().any(|word| last.contains(word))
        || last.split('_').any(|word| word == "key")
}

/// The parser shows the line that it cannot read; that line may hold a secret.
pub fn without_snippet(message: &str) -> String {
    let lines = message.lines().filter(|line| !line.contains('|'));
    lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": ")
}

/// For files of secrets: a text that is shown because it stands where it does not belong
/// may be one.
pub fn without_values(message: &str) -> String {
    let message = without_snippet(message);
    match (message.split_once("string \""), message.rsplit_once('"')) {
        (Some((before, _)), Some((_, after))) => format!("{before}string \"…\"{after}"),
        _ => message,
    }
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such file; `config --template` prints one to begin with".into()
        }
        std::io::ErrorKind::PermissionDenied => "it may not be read; check owner and mode".into(),
        _ => format!("it cannot be read: {error}"),
    }
}
