//! What the process needs of its environment before any driver is loaded.

/// Starts the program anew with Mesa's device-selection layer switched off, where there is no
/// desktop session.
///
/// The layer asks the compositor which GPU it uses. Without a session it writes lines to standard
/// error for each instance, while an error of this program is one line there. Drivers read the
/// environment, so it has to be right when the process starts.
#[cfg(target_os = "linux")]
pub(crate) fn silence_device_selection() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const SWITCH: &str = "NODEVICE_SELECT";
    if env::var_os("XDG_RUNTIME_DIR").is_some() || env::var_os(SWITCH).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), env::current_exe()) else { return };
    // Returns only where it fails; the program goes on as it is then.
    let _ = Command::new(program).arg0(name).args(arguments).env(SWITCH, "1").exec();
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn silence_device_selection() {}
