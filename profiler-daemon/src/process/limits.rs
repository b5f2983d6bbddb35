//! Every bound of this room: what may be read of a process and how much is remembered.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes read of `/proc/PID/maps`; what lies beyond is not known and counts as unmapped.
pub const MAPS_BYTES: usize = 32 << 20;
/// Bytes read of `/proc/PID/mountinfo`; files on mounts that lie beyond are not opened.
pub const MOUNTINFO_BYTES: usize = 4 << 20;
/// Bytes read of a list of all sockets of a network; those that lie beyond are not told by their addresses.
pub const SOCKETS_BYTES: usize = 8 << 20;
/// Bytes read of the other files under `/proc/PID`; what lies beyond is ignored.
pub const PROC_FILE_BYTES: usize = 64 << 10;
/// Bytes read of `/proc/PID/fdinfo/FD`: the inode's number is in the first lines; other kinds of files have lists of any length.
pub const FDINFO_BYTES: usize = 1024;
/// How long names of what threads wait for and of who wakes them are asked for within each [`ASKING_INTERVAL`], on the thread
/// that reads events; those there is no time for are asked for with the next stack that is new in its window.
pub const ASKING_TIME: Duration = Duration::from_millis(5);
/// See [`ASKING_TIME`].
pub const ASKING_INTERVAL: Duration = Duration::from_millis(100);
/// How much longer than looking for processes at the other ends of connections the time between is: a hundredth of a CPU goes
/// into it. What was found before is told meanwhile, and of others the port's service.
pub const PEERS_REST: u32 = 99;
/// How long lists of sockets, and waiting processes' own, are read for one window; one list at least. Of addresses there is no
/// time for, the port's service is told.
pub const PEERS_LIST_TIME: Duration = Duration::from_millis(50);
/// How long the descriptors of all processes are looked through for sockets. If that is too short, nothing is told of them.
pub const PEERS_SCAN_TIME: Duration = Duration::from_millis(250);
/// How long, for one window, the descriptors of the processes that are known already are looked through while those of all are not.
pub const PEERS_KNOWN_TIME: Duration = Duration::from_millis(10);
/// How long it is remembered which sockets a connection leads to, and which processes have a socket.
pub const PEERS_KEPT: Duration = Duration::from_secs(60);
/// Connections, and sockets, remembered so; beyond it, those known so far are looked for again.
pub const PEERS: usize = 16_384;
/// Descriptors looked at of one process; sockets beyond are not found.
pub const PEERS_DESCRIPTORS: usize = 16_384;
/// Executable mappings kept per image; further ones are dropped and count as unmapped.
pub const MAPPINGS_PER_IMAGE: usize = 16_384;
/// Bytes kept of the path of a mapping; a longer path is cut.
pub const PATH_BYTES: usize = 4096;
/// The largest file taken for an executable; a larger one counts as unavailable.
pub const EXECUTABLE_BYTES: u64 = 8 << 30;
/// Segments and sections read of an ELF file; one with more counts as unavailable.
pub const ELF_SECTIONS: usize = 16_384;
/// The length of a build id, in bytes; others are not looked for.
pub const BUILD_ID_BYTES: RangeInclusive<usize> = 8..=64;
/// Open executables at most, whatever the limit on descriptors; the least recently used are closed.
pub const EXECUTABLES_MAX: usize = 4096;
/// Open executables at least, even if the limit on descriptors is small.
pub const EXECUTABLES_MIN: usize = 64;
/// The share of the limit on open files that executables may take: one in this many.
pub const DESCRIPTOR_SHARE: u64 = 4;
/// Images remembered; beyond that the least recently used are forgotten.
pub const IMAGES: usize = 16_384;
/// Memory the mappings of all images may take, in bytes; beyond that the least recently used images are forgotten.
pub const IMAGES_BYTES: usize = 128 << 20;
/// Windows for which the image of an ended process outlives its last use, so that late stacks are still named.
pub const WINDOWS_AFTER_END: u64 = 3;
/// Windows after which an image that nobody asked for is forgotten; it is read again if its process shows up.
pub const WINDOWS_UNUSED: u64 = 60;
/// Earlier readings kept of an image whose mappings were replaced or removed since; of older ones, addresses have no names.
pub const FORMER_READINGS: usize = 8;
/// Times remembered at which code of an image was replaced. Of stacks from before older ones, addresses where any of these was
/// have no names.
pub const MAPPED_CODE: usize = 256;
/// The first pause between two readings of one image's mappings; each reading doubles it.
pub const REFRESH_FIRST: Duration = Duration::from_millis(10);
/// The longest pause between two readings of one image's mappings.
pub const REFRESH_LONGEST: Duration = Duration::from_secs(60);
/// Ancestors followed to find out whether a process descends from a selected one.
pub const ANCESTORS: usize = 4096;
