//! Starting programs with a session keyring of their own.
//!
//! No namespace divides the kernel's session keyrings: a program that we start would find the keys of whoever started us
//! (Kerberos tickets, keys of encrypted directories), and leave keys for the next. Container engines do the same for each
//! container.

use keyutils::Keyring;
use std::{
    io,
    process::{Child, Command},
    sync::mpsc::{Sender, channel},
    thread,
};

/// EPERM, EACCES, ENOSYS of Linux: the kernel has no keys, or a filter that the program inherits keeps both of us from them.
const NO_KEYS: [i32; 3] = [1, 13, 38];

/// A program that was started, and the thread that did it.
pub(crate) struct Started {
    pub child: Child,
    /// Keeps the thread: with its end, bubblewrap's `--die-with-parent` would end the program.
    _thread: Sender<()>,
}

/// Starts a program whose session keyring is new and empty. The keyrings of this process' other threads stay what they are.
pub(crate) fn start(mut command: Command) -> io::Result<Started> {
    let (thread, ended) = channel::<()>();
    let (answer, answered) = channel();
    // A keyring belongs to a thread, and is handed down by the thread that starts a program.
    thread::Builder::new().name("starts a build".to_owned()).spawn(move || {
        let child = join_new_keyring().and_then(|()| command.spawn());
        // It holds the other ends of the program's pipes.
        drop(command);
        if answer.send(child).is_ok() {
            let _ = ended.recv();
        }
    })?;
    let child = answered.recv().map_err(io::Error::other)??;
    Ok(Started { child, _thread: thread })
}

fn join_new_keyring() -> io::Result<()> {
    match Keyring::join_anonymous_session() {
        Err(error) if !NO_KEYS.contains(&error.0) => {
            let error = io::Error::from(error);
            Err(io::Error::new(error.kind(), format!("cannot make a session keyring: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyutils::{Permission, SpecialKeyring, keytypes::User};
    use std::process::Stdio;

    /// The keys that a program sees.
    fn keys(start: impl FnOnce(Command) -> Child) -> String {
        let mut command = Command::new("cat");
        command.arg("/proc/keys").stdout(Stdio::piped());
        String::from_utf8(start(command).wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_key_of_this_session_is_not_handed_down() {
        if Keyring::join_anonymous_session().is_err() {
            // Container engines' own filter keeps programs from keys: then there are none to hand down.
            assert!(start(Command::new("true")).unwrap().child.wait().unwrap().success());
            return;
        }
        let name = format!("mlc-repro-test-{}", std::process::id());
        let mut session = Keyring::attach(SpecialKeyring::Session).unwrap();
        let mut key = session.add_key::<User, _, _>(name.as_str(), &b"secret"[..]).unwrap();
        // Seen only by who has it in a keyring.
        key.set_permissions(Permission::POSSESSOR_ALL).unwrap();
        assert!(keys(|mut command| command.spawn().unwrap()).contains(&name));
        assert!(!keys(|command| start(command).unwrap().child).contains(&name));
        // This thread still has it.
        assert_eq!(key.read().unwrap(), b"secret");
    }
}
