//! The machine and the moment.

use std::fs;
use std::time::SystemTime;

/// Load averages of 1, 5 and 15 minutes, where the system says them.
pub(crate) fn load_average() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
}

/// Bytes of memory that can be taken, where the system says it.
pub(crate) fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// The operating system.
pub(crate) fn system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    match name {
        Some(name) => name.trim_matches('"').to_owned(),
        None => format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    }
}

/// Now, as ISO 8601 in UTC.
pub(crate) fn date() -> String {
    // A clock may stand before the epoch.
    humantime::format_rfc3339_seconds(SystemTime::now().max(SystemTime::UNIX_EPOCH)).to_string()
}
