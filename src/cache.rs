//! Small JSON records on disk: what was measured of an adapter, kept for the next process.
//!
//! A record has a [`Kind`] and a [`Key`]. Whatever is wrong with a file, or with the folder, costs
//! the record and one warning, never a run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use etcetera::BaseStrategy;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::output_file::{OutputFile, cannot_write};

/// Names the folder; empty where nothing is to be cached.
const VARIABLE: &str = "WGRU_CACHE_DIR";
/// Version of the envelope around a record.
const SCHEMA: u32 = 1;
/// Longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// A sort of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The beginning of its files' names: lower-case letters and dashes.
    pub(crate) name: &'static str,
    /// Raised when the meaning of a record changes; records of other versions are stale.
    pub(crate) version: u32,
}

/// What a record is of. One file holds the record of a subject; it is stale in another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// What was measured: an adapter, or an adapter and a shape.
    pub(crate) subject: String,
    /// What the measurement depends on and may change: the driver.
    pub(crate) state: String,
}

impl Key {
    /// The record of a part of the subject, such as a shape on an adapter.
    pub(crate) fn of_part(&self, part: &str) -> Self {
        Self { subject: format!("{} | {part}", self.subject), state: self.state.clone() }
    }
}

/// A folder of records, or none.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: Option<PathBuf>,
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    wgru_cache: u32,
    crate_version: &'a str,
    kind: &'a str,
    kind_version: u32,
    subject: &'a str,
    state: &'a str,
    record: &'a T,
}

/// An [`Envelope`] of this schema, with the record as it came: it is read only if everything else
/// agrees.
#[derive(Deserialize)]
struct Stored {
    crate_version: String,
    kind: String,
    kind_version: u32,
    subject: String,
    state: String,
    record: serde_json::Value,
}

impl Cache {
    /// The folder that `WGRU_CACHE_DIR` names, else `wgru` in the user's cache folder. Empty, the
    /// variable turns the cache off; where the system knows no folder there is none either, and a
    /// warning.
    pub(crate) fn open() -> Self {
        match std::env::var_os(VARIABLE) {
            Some(folder) if folder.is_empty() => Self::off(),
            Some(folder) => Self::at(folder.into()),
            None => match etcetera::base_strategy::choose_native_strategy() {
                Ok(strategy) => Self::at(strategy.cache_dir().join("wgru")),
                Err(_) => {
                    warn_once(format!(
                        "there is no folder for cached measurements; {VARIABLE} can name one, or \
                         be empty"
                    ));
                    Self::off()
                }
            },
        }
    }

    /// The folder `folder`, which need not exist.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// Holds nothing.
    pub(crate) fn off() -> Self {
        Self { folder: None }
    }

    /// Where the record of `key` is or would be; none where the cache is off.
    pub(crate) fn path(&self, kind: Kind, key: &Key) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(file_name(kind, key)))
    }

    /// The record of `key`, where there is one that can be used. What is wrong with its file is
    /// logged, once.
    pub(crate) fn read<T: DeserializeOwned>(&self, kind: Kind, key: &Key) -> Option<T> {
        let path = self.path(kind, key)?;
        let outcome = load(&path).and_then(|bytes| bytes.map(|b| open(&b, kind, key)).transpose());
        outcome.unwrap_or_else(|reason| {
            warn_once(format!("{}: ignored: {reason}", path.display()));
            None
        })
    }

    /// [`read`](Self::read) of a record whose numbers may be; one that `is_sound` refuses is
    /// ignored like a damaged one.
    pub(crate) fn read_sound<T: DeserializeOwned>(
        &self,
        kind: Kind,
        key: &Key,
        is_sound: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let record = self.read(kind, key)?;
        if is_sound(&record) {
            return Some(record);
        }
        let path = self.path(kind, key)?;
        warn_once(format!("{}: ignored: it holds a number that no device has", path.display()));
        None
    }

    /// Writes the record of `key` and says where; `None` where the cache is off.
    ///
    /// # Errors
    /// Those of writing a file.
    pub(crate) fn write<T: Serialize>(
        &self,
        kind: Kind,
        key: &Key,
        record: &T,
    ) -> Result<Option<PathBuf>> {
        let Some(path) = self.path(kind, key) else { return Ok(None) };
        let envelope = Envelope {
            wgru_cache: SCHEMA,
            crate_version: env!("CARGO_PKG_VERSION"),
            kind: kind.name,
            kind_version: kind.version,
            subject: &key.subject,
            state: &key.state,
            record,
        };
        let mut bytes = serde_json::to_vec_pretty(&envelope)
            .map_err(|e| cannot_write(&path, io::Error::other(e)))?;
        bytes.push(b'\n');
        if let Some(folder) = &self.folder {
            fs::create_dir_all(folder).map_err(|e| cannot_write(&path, e))?;
        }
        let mut file = OutputFile::create(&path)?;
        file.write_bytes(&bytes)?;
        file.commit()?;
        Ok(Some(path))
    }

    /// As [`write`](Self::write) for whom the record is only a help to later runs: what goes wrong
    /// is logged, once.
    pub(crate) fn keep<T: Serialize>(&self, kind: Kind, key: &Key, record: &T) {
        if let Err(error) = self.write(kind, key, record) {
            warn_once(format!("a measurement is not cached: {error}"));
        }
    }
}

/// The bytes of the file; none where there is no file.
fn load(path: &Path) -> std::result::Result<Option<Vec<u8>>, String> {
    let unreadable = |e: io::Error| format!("it cannot be read: {e}");
    // A pipe would be waited for.
    match path.metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A part of the folder's path is a file: there is no record, and writing says why.
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(e) => return Err(unreadable(e)),
        Ok(metadata) if !metadata.is_file() => return Err("it is no file".to_owned()),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    Ok(Some(bytes))
}

/// The record in `bytes`, if it is the one of `kind` and `key`.
fn open<T: DeserializeOwned>(
    bytes: &[u8],
    kind: Kind,
    key: &Key,
) -> std::result::Result<T, String> {
    let json: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|e| format!("it is damaged: {e}"))?;
    if json.get("wgru_cache").is_none() {
        return Err("it is not a record of this program".to_owned());
    }
    if json["wgru_cache"] != SCHEMA {
        return Err("it is stale: another version of the format".to_owned());
    }
    let stored: Stored = serde_json::from_value(json).map_err(|e| format!("it is damaged: {e}"))?;
    if stored.kind != kind.name || stored.subject != key.subject {
        let of = shown(&format!("{} of {}", stored.kind, stored.subject));
        return Err(format!("it is of something else, {of}"));
    }
    let this = env!("CARGO_PKG_VERSION");
    if stored.crate_version != this {
        return Err(format!("it is stale: written by version {}", shown(&stored.crate_version)));
    }
    if stored.kind_version != kind.version {
        return Err(format!(
            "it is stale: version {} of the {}, {} is wanted",
            stored.kind_version, kind.name, kind.version
        ));
    }
    if stored.state != key.state {
        let state = shown(&stored.state);
        return Err(format!("it is stale: of {state}, now there is {}", key.state));
    }
    serde_json::from_value(stored.record).map_err(|e| format!("it is damaged: {e}"))
}

/// What a file says, fit for a line: quoted, and not all of it where it is long.
fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// `KIND-NAME-HASH.json`: the name for people, the hash of the whole subject for the program.
fn file_name(kind: Kind, key: &Key) -> String {
    let mut name = String::new();
    for c in key.subject.chars().take(40) {
        let c = if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        if c != '-' || !name.ends_with('-') {
            name.push(c);
        }
    }
    format!("{}-{}-{:016x}.json", kind.name, name.trim_matches('-'), hash(&key.subject))
}

/// FNV-1a: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Logs `message` unless it was logged before: a process may look a record up many times.
pub(crate) fn warn_once(message: String) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&message) {
        log::warn!("{message}");
        said.insert(message);
    }
}
