//! The floor's half for the kernel's other doors: a filter of system calls.
//!
//! A list of what is refused, and not of what is allowed: a command may be any program. What is
//! refused is what reaches other processes, the kernel's insides, new namespaces and mounts, terminals, and, on the
//! floor, every socket that is not a pair within the command itself.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::super::spec::{Layer, Spec};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Result<T> = std::result::Result<T, String>;

/// Refused whatever the arguments are.
const REFUSED: [c_long; 55] = [
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    // The kernel's insides.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_lookup_dcookie,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_memfd_secret,
    // Files by a number that no path leads to.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The machine as a whole.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
];

/// What knows no path: a namespace has its own, on the floor it would be everybody's.
const SHARED: [c_long; 11] = [
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semctl,
    libc::SYS_semop,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
];

/// Said not to exist, so that programs take the older way, whose arguments the filter can see.
const ABSENT: [c_long; 5] = [
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

const NAMESPACES: [i32; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    // CLONE_NEWTIME, which the crate lacks.
    0x80,
];

/// What types into a terminal, or changes what one does for others.
const TERMINALS: [u64; 3] = [0x5412, 0x541c, 0x5423];

/// Set-user-id and set-group-id. As root's, such a file would be a trap for every other user.
const SET_ID: [u64; 2] = [0o4000, 0o2000];

/// Applies the filters to this process and all that come of it.
pub fn restrict(spec: &Spec) -> Result<()> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|error| format!("seccomp: {error}"))?;
    let refused = program(refused(spec)?, libc::EPERM, arch)?;
    let absent = program(ABSENT.iter().map(|call| (*call, vec![])).collect(), libc::ENOSYS, arch)?;
    for program in [&refused, &absent, &foreign_numbers()] {
        apply_filter(program).map_err(|error| format!("seccomp: {error}"))?;
    }
    Ok(())
}

fn program(rules: Rules, errno: i32, arch: TargetArch) -> Result<BpfProgram> {
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch);
    let program = filter.and_then(BpfProgram::try_from);
    program.map_err(|error| format!("seccomp: {error}"))
}

fn refused(spec: &Spec) -> Result<Rules> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, vec![])).collect();
    if spec.layer == Layer::Floor {
        rules.extend(SHARED.iter().map(|call| (*call, vec![])));
    }
    let mut refuse = |call: c_long, conditions: Vec<SeccompCondition>| -> Result<()> {
        let rule = SeccompRule::new(conditions).map_err(|error| format!("seccomp: {error}"))?;
        rules.entry(call).or_default().push(rule);
        Ok(())
    };
    for flag in NAMESPACES {
        let flag = u64::from(flag.unsigned_abs());
        refuse(libc::SYS_clone, vec![masked(0, flag, flag)?])?;
    }
    for request in TERMINALS {
        refuse(libc::SYS_ioctl, vec![when(1, Op::Eq, request)?])?;
    }
    for (call, mode) in MODES {
        for bit in SET_ID {
            refuse(call, vec![masked(mode, bit, bit)?])?;
        }
    }
    for (call, flags, mode) in OPENS {
        for bit in SET_ID {
            let making = u64::from(libc::O_CREAT.unsigned_abs());
            refuse(call, vec![masked(flags, making, making)?, masked(mode, bit, bit)?])?;
        }
    }
    // Who answers to these numbers decides whether the command is watched. Landlock keeps all
    // signals in where the kernel is new enough.
    for call in [libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill] {
        if let (Layer::Floor, Some(supervisor)) = (spec.layer, rustix::process::getppid()) {
            let pid = supervisor.as_raw_nonzero().get();
            for pid in [pid, pid.wrapping_neg(), -1] {
                refuse(call, vec![when(0, Op::Eq, u64::from(pid.cast_unsigned()))?])?;
            }
        }
    }
    sockets(spec.layer, &mut refuse)?;
    Ok(rules)
}

fn sockets(
    layer: Layer,
    refuse: &mut dyn FnMut(c_long, Vec<SeccompCondition>) -> Result<()>,
) -> Result<()> {
    let number = |value: i32| u64::from(value.unsigned_abs());
    let type_mask = 0xf;
    match layer {
        Layer::Namespaces => {
            // Its own loopback, its own sockets, and questions about its own network. Some families
            // know nothing of namespaces.
            let known = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
            let none: Result<Vec<_>> =
                known.iter().map(|family| when(0, Op::Ne, number(*family))).collect();
            refuse(libc::SYS_socket, none?)?;
            for family in [libc::AF_INET, libc::AF_INET6] {
                let raw = masked(1, type_mask, number(libc::SOCK_RAW))?;
                refuse(libc::SYS_socket, vec![when(0, Op::Eq, number(family))?, raw])?;
            }
            let netlink = when(0, Op::Eq, number(libc::AF_NETLINK))?;
            let other = when(2, Op::Ne, number(libc::NETLINK_ROUTE))?;
            refuse(libc::SYS_socket, vec![netlink, other])?;
        }
        Layer::Floor => {
            // Landlock of most kernels does not see who connects to a socket's path, nor UDP.
            refuse(libc::SYS_socket, vec![when(0, Op::Ge, 0)?])?;
        }
    }
    // A pair of datagram sockets can send to any path besides.
    let datagram = masked(1, type_mask, number(libc::SOCK_DGRAM))?;
    if layer == Layer::Floor {
        refuse(libc::SYS_socketpair, vec![datagram])?;
    }
    refuse(libc::SYS_socketpair, vec![when(0, Op::Ne, number(libc::AF_UNIX))?])
}

fn when(argument: u8, op: Op, value: u64) -> Result<SeccompCondition> {
    SeccompCondition::new(argument, Len::Dword, op, value)
        .map_err(|error| format!("seccomp: {error}"))
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition> {
    when(argument, Op::MaskedEq(mask), value)
}

/// Calls that set a mode, and which argument it is.
#[cfg(target_arch = "x86_64")]
const MODES: [(c_long, u8); 9] = [
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (libc::SYS_fchmodat2, 2),
    (libc::SYS_mknodat, 2),
    (libc::SYS_mkdirat, 2),
    (libc::SYS_chmod, 1),
    (libc::SYS_creat, 1),
    (libc::SYS_mknod, 1),
    (libc::SYS_mkdir, 1),
];
#[cfg(not(target_arch = "x86_64"))]
const MODES: [(c_long, u8); 5] = [
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    (libc::SYS_fchmodat2, 2),
    (libc::SYS_mknodat, 2),
    (libc::SYS_mkdirat, 2),
];

/// Calls that may make a file: which argument holds the flags, and which the mode.
#[cfg(target_arch = "x86_64")]
const OPENS: [(c_long, u8, u8); 2] = [(libc::SYS_openat, 2, 3), (libc::SYS_open, 1, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: [(c_long, u8, u8); 1] = [(libc::SYS_openat, 2, 3)];

/// On x86-64 a second set of numbers leads to the same calls past every rule above. No program of today uses
/// it, and a filter that does not know them would let them through.
#[cfg(target_arch = "x86_64")]
fn foreign_numbers() -> BpfProgram {
    use seccompiler::sock_filter;
    const X32: u32 = 0x4000_0000;
    let code = |code: u32| u16::try_from(code).expect("instructions have 16 bits");
    let load = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
    let at_least = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
    let give = code(libc::BPF_RET | libc::BPF_K);
    let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![
        // The call's number comes first in what a filter sees.
        sock_filter { code: load, jt: 0, jf: 0, k: 0 },
        sock_filter { code: at_least, jt: 0, jf: 1, k: X32 },
        sock_filter { code: give, jt: 0, jf: 0, k: absent },
        sock_filter { code: give, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

/// Other machines have one set of numbers.
#[cfg(not(target_arch = "x86_64"))]
fn foreign_numbers() -> BpfProgram {
    use seccompiler::sock_filter;
    let give = u16::try_from(libc::BPF_RET | libc::BPF_K).expect("instructions have 16 bits");
    vec![sock_filter { code: give, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }]
}
