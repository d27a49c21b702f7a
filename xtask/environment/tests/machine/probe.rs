//! System calls as a build makes them, by programs of a few instructions that need no library: what the kernel answered.

use super::{machine, try_run_on};
use environment::{Backend, Exit, Source};
use store::{Entry, Tree};

/// Where a program is loaded.
const BASE: u64 = 0x40_0000;
/// Where it writes down the answers, and where calls may write.
const ANSWERS: u64 = BASE + 0x1_0000;
const ROOM: u64 = BASE + 0x2_0000;
/// All of it.
const SIZE: u64 = 0x3_0000;

/// ENOSYS: the kernel does not have it.
const NOT_IMPLEMENTED: i64 = -38;
/// EPERM: what Docker before 23 says of a call that is allowed with other arguments.
const NOT_PERMITTED: i64 = -1;

/// A call: what it is, its number on x86-64 (`asm/unistd_64.h`), and its first arguments.
type Call = (&'static str, u64, &'static [u64]);

/// What builds may not do. Each was answered otherwise before there was a filter, or may be by another kernel.
const REFUSED: &[Call] = &[
    ("add_key", 248, &[ROOM, ROOM, ROOM, 0, 0]),
    ("request_key", 249, &[ROOM, ROOM, 0, 0]),
    ("keyctl: the session's keyring", 250, &[0, 0xffff_fffd, 1]),
    ("keyctl: a new session", 250, &[1, 0]),
    ("socket: AF_VSOCK", 41, &[40, 1, 0]),
    ("socket: AF_VSOCK, with bits that the kernel does not look at", 41, &[0x1_0000_0028, 1, 0]),
    ("socket: AF_ALG", 41, &[38, 5, 0]),
    ("socket: AF_PACKET", 41, &[17, 3, 0]),
    ("socket: AF_BLUETOOTH", 41, &[31, 3, 0]),
    ("socket: AF_XDP", 41, &[44, 3, 0]),
    ("socket: NETLINK_KOBJECT_UEVENT", 41, &[16, 3, 15]),
    ("socket: NETLINK_SOCK_DIAG", 41, &[16, 3, 4]),
    ("socket: ICMP", 41, &[2, 2, 1]),
    ("socket: SCTP", 41, &[2, 1, 132]),
    ("socket: MPTCP", 41, &[10, 1, 262]),
    ("socketpair: AF_TIPC", 53, &[30, 1, 0, ROOM]),
    ("io_uring_setup", 425, &[1, ROOM]),
    ("io_uring_enter", 426, &[0, 0, 0, 0, 0, 0]),
    ("io_uring_register", 427, &[0, 0, 0, 0]),
    ("userfaultfd", 323, &[1]),
    ("bpf", 321, &[0, ROOM, 128]),
    ("perf_event_open", 298, &[ROOM, 0, 0xffff_ffff, 0xffff_ffff, 0]),
    ("clone3", 435, &[ROOM, 88]),
    ("clone: CLONE_NEWUSER", 56, &[0x1000_0000 | 17, 0, 0, 0, 0]),
    ("clone: CLONE_NEWNET", 56, &[0x4000_0000 | 17, 0, 0, 0, 0]),
    ("unshare", 272, &[0x1000_0000]),
    ("setns", 308, &[0, 0]),
    ("mount", 165, &[ROOM, ROOM, ROOM, 0, 0]),
    ("umount2", 166, &[ROOM, 0]),
    ("pivot_root", 155, &[ROOM, ROOM]),
    ("chroot", 161, &[ROOM]),
    ("open_tree", 428, &[0, ROOM, 0]),
    ("move_mount", 429, &[0, ROOM, 0, ROOM, 0]),
    ("fsopen", 430, &[ROOM, 0]),
    ("mount_setattr", 442, &[0, ROOM, 0, ROOM, 32]),
    ("name_to_handle_at", 303, &[0, ROOM, ROOM, ROOM, 0]),
    ("open_by_handle_at", 304, &[0, ROOM, 0]),
    ("fanotify_init", 300, &[0, 0]),
    ("kcmp", 312, &[1, 1, 0, 0, 0]),
    ("pidfd_getfd", 438, &[0, 0, 0]),
    ("process_madvise", 440, &[0, ROOM, 0, 0, 0]),
    ("memfd_secret", 447, &[0]),
    ("get_mempolicy", 239, &[ROOM, 0, 0, 0, 0]),
    ("mbind", 237, &[0, 0, 0, 0, 0, 0]),
    ("move_pages", 279, &[0, 0, 0, 0, 0, 0]),
    ("adjtimex", 159, &[ROOM]),
    ("clock_adjtime", 305, &[0, ROOM]),
    ("clock_settime", 227, &[0, ROOM]),
    ("settimeofday", 164, &[ROOM, 0]),
    ("syslog", 103, &[10, 0, 0]),
    ("sethostname", 170, &[ROOM, 1]),
    ("init_module", 175, &[ROOM, 1, ROOM]),
    ("kexec_load", 246, &[0, 0, 0, 0]),
    ("reboot", 169, &[0, 0, 0, 0]),
    ("swapon", 167, &[ROOM, 0]),
    ("acct", 163, &[0]),
    ("iopl", 172, &[0]),
    ("quotactl", 179, &[0, 0, 0, 0]),
    ("personality: READ_IMPLIES_EXEC", 135, &[0x40_0000]),
    ("a call of a kernel to come", 600, &[]),
];

/// What builds do.
const ALLOWED: &[Call] = &[
    ("getpid", 39, &[]),
    ("socket: AF_UNIX", 41, &[1, 1, 0]),
    ("socketpair: AF_UNIX", 53, &[1, 1, 0, ROOM]),
    ("socket: TCP", 41, &[2, 1, 0]),
    ("socket: UDP", 41, &[2, 2, 17]),
    ("socket: NETLINK_ROUTE", 41, &[16, 3, 0]),
    ("personality: which it is", 135, &[0xffff_ffff]),
    ("memfd_create", 319, &[ROOM, 0]),
    ("getrandom", 318, &[ROOM, 16, 0]),
    ("epoll_create1", 291, &[0]),
    ("sched_getaffinity", 204, &[0, 128, ROOM]),
    ("prlimit64", 302, &[0, 7, 0, ROOM]),
];

/// Machine code that makes a call and leaves the answer in rax.
fn call(number: u64, arguments: &[u64]) -> Vec<u8> {
    // mov REGISTER, 64 bits: rax; rdi, rsi, rdx, r10, r8, r9.
    const REGISTERS: [[u8; 2]; 6] =
        [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba], [0x49, 0xb8], [0x49, 0xb9]];
    let mut code = [&[0x48, 0xb8][..], &number.to_le_bytes()].concat();
    for (register, value) in REGISTERS.iter().zip(arguments.iter().chain(std::iter::repeat(&0))) {
        code.extend([register.as_slice(), &value.to_le_bytes()].concat());
    }
    // syscall
    code.extend([0x0f, 0x05]);
    code
}

/// A static program of this code (ELF for x86-64: one header, one segment that may be read, written and run).
fn program(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    // Executable, x86-64, version 1.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for value in [BASE + HEADERS, 64, 0] {
        elf.extend(value.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // Loaded; readable, writable, executable.
    elf.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    let length = HEADERS + code.len() as u64;
    for value in [0, BASE, BASE, length, SIZE, 0x1000] {
        elf.extend(value.to_le_bytes());
    }
    assert!(elf.len() as u64 == HEADERS && length < ANSWERS - BASE);
    [elf, code.to_vec()].concat()
}

/// The end of a program: `exit(0)`.
fn end() -> Vec<u8> {
    call(60, &[0])
}

fn run(backend: &dyn Backend, code: &[u8]) -> super::Ran {
    let store = &machine().store;
    let digest = store.put_bytes(&program(code)).unwrap();
    let mut sources = Tree::new();
    sources.insert("probe", Entry::File { digest, executable: true }).unwrap();
    // Not by a shell that stays: what becomes of the program is what is told.
    let script = "exec ../src/probe > ../out/answers";
    let arguments = ["/bin/bash", "-c", script];
    try_run_on(backend, Source::Tree(&sources), &arguments, &[("PATH", "/usr/bin")], &mut |_| {}).unwrap()
}

/// What the kernel answers to calls.
fn answers(backend: &dyn Backend, calls: &[Call]) -> Vec<i64> {
    let mut code = Vec::new();
    for (index, (_, number, arguments)) in calls.iter().enumerate() {
        code.extend(call(*number, arguments));
        // mov [ADDRESS], rax
        code.extend([&[0x48, 0xa3][..], &(ANSWERS + 8 * index as u64).to_le_bytes()].concat());
    }
    code.extend(call(1, &[1, ANSWERS, 8 * calls.len() as u64]));
    code.extend(end());
    let ran = run(backend, &code);
    let Some(Entry::File { digest, .. }) = ran.outputs.get("answers") else {
        panic!("{}: {}", ran.exit, ran.output)
    };
    let bytes = machine().store.read(digest).unwrap();
    bytes.chunks_exact(8).map(|answer| i64::from_le_bytes(answer.try_into().unwrap())).collect()
}

/// System calls are answered as `system_calls.toml` says.
pub fn filters_system_calls(backend: &dyn Backend) {
    for ((name, ..), answer) in REFUSED.iter().zip(answers(backend, REFUSED)) {
        let is_sometimes_allowed =
            ["socket", "clone: ", "personality"].iter().any(|call| name.starts_with(call));
        match is_sometimes_allowed && backend.name() == "docker" {
            true => assert!([NOT_IMPLEMENTED, NOT_PERMITTED].contains(&answer), "{name}: {answer}"),
            false => assert_eq!(answer, NOT_IMPLEMENTED, "{name}"),
        }
    }
    for ((name, ..), answer) in ALLOWED.iter().zip(answers(backend, ALLOWED)) {
        assert!(answer >= 0, "{name}: {answer}");
    }
    // getpid as 32-bit code makes it (mov eax, 20; int 0x80): SIGSYS, or SIGSEGV by a kernel that has no such code.
    let old = [&[0xb8, 20, 0, 0, 0, 0xcd, 0x80][..], &end()].concat();
    let exit = run(backend, &old).exit;
    assert!([Exit::Signalled(31), Exit::Signalled(11)].contains(&exit), "{exit}");
    // getpid of the x32 ABI, as an exit status: nothing came of it, or the program was ended.
    let x32 =
        [call(0x4000_0000 | 39, &[]), b"\x48\x89\xc7\x48\xb8\x3c\0\0\0\0\0\0\0\x0f\x05".to_vec()].concat();
    let exit = run(backend, &x32).exit;
    assert!([Exit::Exited(-38 & 0xff), Exit::Signalled(31)].contains(&exit), "{exit}");
}
