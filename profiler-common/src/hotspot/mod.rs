//! Walking the frames of HotSpot, the virtual machine of OpenJDK: pure steps that the kernel half runs, and that tests run on
//! the host.
//!
//! Code that HotSpot makes lies in *code heaps*, in pieces that begin with a `CodeBlob`, which says how large the frames of its code are.
//! A byte for each segment of a heap tells how far it is to the beginning of its blob. [`walk`] finds the blob of an instruction and
//! moves to the caller; nothing is asked of the process, and nothing has to be known of a method.
//!
//! What a frame is, is told by one word beside its address, a [`Code`].

pub mod walk;

/// Code heaps of one virtual machine.
pub const HEAPS: usize = 4;

/// In [`HotSpot::flags`]: blobs say where their code lies by an offset from themselves, and not by its address (8, and 23 on).
pub const CODE_BY_OFFSET: u32 = 1;

/// One code heap: the addresses reserved for it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Heap {
    /// The first address; zero, as all of it, if there is no such heap.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
    /// The byte of its first segment.
    pub segments: u64,
}

/// A virtual machine in one process: addresses, and offsets of fields in bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "host", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct HotSpot {
    /// The code heaps.
    pub heaps: [Heap; HEAPS],
    /// Where Java code that native code called returns to: `StubRoutines::_call_stub_return_address`. Zero if that is not told.
    pub entry_return: u64,
    /// Bits of this module's flags.
    pub flags: u32,
    /// The binary logarithm of a segment's size.
    pub segment_shift: u32,
    /// Bytes from the beginning of a block to its blob: the size of `HeapBlock`.
    pub block_header: u32,
    /// `CodeBlob::_name`.
    pub name: u32,
    /// `CodeBlob::_code_begin`, or `_code_offset` with [`CODE_BY_OFFSET`].
    pub code_begin: u32,
    /// `CodeBlob::_code_end`, or `_data_offset` with [`CODE_BY_OFFSET`].
    pub code_end: u32,
    /// `CodeBlob::_frame_size`, in words.
    pub frame_size: u32,
    /// `CodeBlob::_frame_complete_offset`, of which 16 bits count.
    pub frame_complete: u32,
    /// The handler of deoptimized frames, of `nmethod`: its address, or its offset with [`CODE_BY_OFFSET`].
    pub deopt_handler: u32,
    /// `nmethod::_orig_pc_offset`.
    pub original_pc: u32,
    /// `nmethod::_compile_id`.
    pub compile_id: u32,
    /// How many words below the frame pointer an interpreted frame keeps its bytecode pointer.
    pub bytecode_slot: u32,
    /// `Method::_constMethod`.
    pub const_method: u32,
    /// The size of `ConstMethod`, behind which the bytecodes lie.
    pub const_method_bytes: u32,
}

impl HotSpot {
    /// The heap an address lies in.
    ///
    /// Without branches, for each heap would be a way of its own for the verifier to follow through all that comes after.
    #[inline(always)]
    pub fn heap_of(&self, address: u64) -> Option<&Heap> {
        // So that the compiler keeps the mask.
        let number = core::hint::black_box(self.number_of(address));
        if number == 0 { None } else { Some(&self.heaps[(number - 1) as usize & (HEAPS - 1)]) }
    }

    /// One if an address lies in a heap, else zero.
    #[inline(always)]
    fn holds(&self, address: u64) -> u64 {
        is_zero(self.number_of(address)) ^ 1
    }

    /// The number of the heap, from one on, or zero.
    #[inline(always)]
    fn number_of(&self, address: u64) -> u64 {
        let mut number = 0;
        for (at, heap) in self.heaps.iter().enumerate() {
            let is_in = less(address.wrapping_sub(heap.start), heap.end.wrapping_sub(heap.start));
            number |= is_in * (at as u64 + 1);
        }
        number
    }
}

/// One if a number below 2^63 is zero, else zero. The compiler may not know its range, or it would make a branch of this.
#[inline(always)]
fn is_zero(number: u64) -> u64 {
    core::hint::black_box(number).wrapping_sub(1) >> 63
}

/// One if two numbers below 2^63 are equal, else zero.
#[inline(always)]
fn equal(one: u64, other: u64) -> u64 {
    is_zero(one ^ other)
}

/// One if a number is less than another, else zero: the borrow of their difference.
#[inline(always)]
fn less(one: u64, other: u64) -> u64 {
    (!one & other | !(one ^ other) & one.wrapping_sub(other)) >> 63
}

/// What a frame in a code heap is, in one word. The kind is never zero, so that the word is never a stack pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A compiled method. Its number tells it from another that comes to lie at the same address.
    Compiled {
        /// `nmethod::_compile_id`.
        compile_id: u32,
    },
    /// The wrapper of a native method.
    Native {
        /// `nmethod::_compile_id`.
        compile_id: u32,
    },
    /// An interpreted method.
    Interpreted {
        /// The address of its `Method`, which is a multiple of eight.
        method: u64,
        /// The index of the bytecode that runs, or [`NO_BYTECODE`].
        bytecode: u16,
    },
    /// Anything else: a stub, an adapter, the interpreter where it runs no method.
    Stub,
    /// The entry of Java code that was called from native code.
    Entry,
    /// Where a virtual thread was mounted: frames of it may not be on the stack.
    Continuation,
}

/// In [`Code::Interpreted`]: not known.
pub const NO_BYTECODE: u16 = u16::MAX;

const KIND_SHIFT: u32 = 60;
const COMPILED: u64 = 1;
const NATIVE: u64 = 2;
const INTERPRETED: u64 = 3;
const STUB: u64 = 4;
const ENTRY: u64 = 5;
const CONTINUATION: u64 = 6;

impl Code {
    /// As a word: four bits of kind, then what goes with it. Of a method's address 47 bits count, the lowest three being zero.
    #[inline(always)]
    pub fn pack(self) -> u64 {
        match self {
            Self::Compiled { compile_id } => COMPILED << KIND_SHIFT | compile_id as u64,
            Self::Native { compile_id } => NATIVE << KIND_SHIFT | compile_id as u64,
            Self::Interpreted { method, bytecode } => {
                INTERPRETED << KIND_SHIFT | (method >> 3 & ((1 << 44) - 1)) << 16 | bytecode as u64
            }
            Self::Stub => STUB << KIND_SHIFT,
            Self::Entry => ENTRY << KIND_SHIFT,
            Self::Continuation => CONTINUATION << KIND_SHIFT,
        }
    }

    /// What a word says; `None` if it is a stack pointer, or nothing.
    pub fn unpack(word: u64) -> Option<Self> {
        match word >> KIND_SHIFT {
            COMPILED => Some(Self::Compiled { compile_id: word as u32 }),
            NATIVE => Some(Self::Native { compile_id: word as u32 }),
            INTERPRETED => {
                Some(Self::Interpreted { method: (word >> 16 & ((1 << 44) - 1)) << 3, bytecode: word as u16 })
            }
            STUB => Some(Self::Stub),
            ENTRY => Some(Self::Entry),
            CONTINUATION => Some(Self::Continuation),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_it_was_made_of() {
        let method = 0x7fff_ffff_fff8;
        for code in [
            Code::Compiled { compile_id: u32::MAX },
            Code::Native { compile_id: 7 },
            Code::Interpreted { method, bytecode: 0xfffe },
            Code::Interpreted { method: 8, bytecode: NO_BYTECODE },
            Code::Stub,
            Code::Entry,
            Code::Continuation,
        ] {
            assert_eq!(Code::unpack(code.pack()), Some(code));
        }
        assert_eq!(Code::unpack(0x7fff_ffff_ffff), None);
        assert_eq!(Code::unpack(0), None);
    }

    #[test]
    fn an_address_lies_in_the_heap_that_reaches_over_it() {
        let heap = |start, end| Heap { start, end, segments: start };
        let heaps =
            [heap(0x7f00_0000, 0x7f10_0000), heap(0x7f10_0000, 0x7f20_0000), heap(1 << 46, (1 << 46) + 8), heap(0, 0)];
        let hotspot = HotSpot { heaps, ..HotSpot::default() };
        let found = |address| hotspot.heap_of(address).map(|heap| heap.segments);
        assert_eq!((found(0x7f00_0000), found(0x7f0f_ffff)), (Some(0x7f00_0000), Some(0x7f00_0000)));
        assert_eq!((found(0x7f10_0000), found(0x7f20_0000)), (Some(0x7f10_0000), None));
        assert_eq!((found(1 << 46), found((1 << 46) + 8), found((1 << 46) - 1)), (Some(1 << 46), None, None));
        assert_eq!((found(0), found(u64::MAX), found(0x7eff_ffff)), (None, None, None));
    }
}
