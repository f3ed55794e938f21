//! The records on disk: what is kept is read back, and whatever else lies there is ignored.

use std::fs;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cache::{Cache, Key, Kind};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    latency: f64,
    names: Vec<String>,
}

const KIND: Kind = Kind { name: "test", version: 3 };

fn key() -> Key {
    Key { subject: "Some GPU 9000 | Vulkan | 10de:2330".into(), state: "driver 1.2".into() }
}

fn record() -> Record {
    Record { latency: 3.0625, names: vec!["ä\n".into(), String::new()] }
}

#[test]
fn a_record_comes_back_for_its_own_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().join("made/when/needed"));
    assert_eq!(cache.read::<Record>(KIND, &key()), None);
    let path = cache.write(KIND, &key(), &record()).unwrap().unwrap();
    assert_eq!(Some(&path), cache.path(KIND, &key()).as_ref());
    assert_eq!(cache.read(KIND, &key()), Some(record()));

    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("test-some-gpu-9000-vulkan-10de-2330-"), "{name}");
    let part = key().of_part("T 100 x B 1");
    assert_ne!(cache.path(KIND, &part), Some(path));
    assert_eq!(cache.read::<Record>(KIND, &part), None);
    assert_eq!(cache.read::<Record>(Kind { name: "other", ..KIND }, &key()), None);
    // A newer record takes its place.
    let newer = Record { latency: 1.0, ..record() };
    cache.keep(KIND, &key(), &newer);
    assert_eq!(cache.read(KIND, &key()), Some(newer));
    assert_eq!(cache.read(KIND, &key()), Some(Record { latency: 1.0, ..record() }));
}

#[test]
fn files_that_are_no_record_of_the_key_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path().into());
    let path = cache.write(KIND, &key(), &record()).unwrap().unwrap();
    let whole = fs::read(&path).unwrap();
    let json: Value = serde_json::from_slice(&whole).unwrap();
    let changed = |field: &str, value: Value| {
        let mut json = json.clone();
        assert!(json.get(field).is_some_and(|old| *old != value), "{field}");
        json[field] = value;
        serde_json::to_vec(&json).unwrap()
    };
    let without = |field: &str| {
        let mut json = json.clone();
        json.as_object_mut().unwrap().remove(field).unwrap();
        serde_json::to_vec(&json).unwrap()
    };
    let mut long = whole.clone();
    long.resize((1 << 20) + 1, b' ');
    let cases = [
        b"".to_vec(),
        b"{}".to_vec(),
        b"[1, 2]".to_vec(),
        b"\xff\xfe not text".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        [&whole[..], b"x"].concat(),
        "[".repeat(100_000).into_bytes(),
        long,
        changed("wgru_cache", 2.into()),
        changed("wgru_cache", "1".into()),
        changed("crate_version", "0.0.0".into()),
        changed("kind", "other".into()),
        changed("kind_version", 2.into()),
        changed("subject", "Another GPU".into()),
        changed("state", "driver 1.3".into()),
        changed("record", 7.into()),
        without("record"),
        without("state"),
        without("wgru_cache"),
    ];
    for (i, bytes) in cases.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        assert_eq!(cache.read::<Record>(KIND, &key()), None, "case {i}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(cache.read(KIND, &key()), Some(record()));
    // What took the file's place is neither waited for nor destroyed.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(cache.read::<Record>(KIND, &key()), None);
    assert!(cache.write(KIND, &key(), &record()).is_err());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    for place in [file.clone(), file.join("deeper")] {
        let cache = Cache::at(place.clone());
        assert_eq!(cache.read::<Record>(KIND, &key()), None);
        let error = cache.write(KIND, &key(), &record()).unwrap_err();
        assert!(error.to_string().contains(place.to_str().unwrap()), "{error}");
        cache.keep(KIND, &key(), &record());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "no folder");
}

#[test]
fn a_cache_that_is_off_holds_nothing() {
    let cache = Cache::off();
    assert_eq!(cache.write(KIND, &key(), &record()).unwrap(), None);
    assert_eq!(cache.read::<Record>(KIND, &key()), None);
    assert_eq!(cache.path(KIND, &key()), None);
}
