// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
//! The codec in Rust: an iterator over the runs of a message, and an encoder. Only what the library
//! exports can be called; what is inline in C's headers is written in Rust where it is wanted.

use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;
use std::mem::{size_of, MaybeUninit};
use std::os::raw::{c_char, c_int, c_uint, c_ushort, c_void};
use std::sync::atomic::AtomicU8;

#[allow(dead_code)] // to an older compiler, what only assertions use is dead
mod layout {
    // Sizes, from the C compiler: layout.c prints them.
    include!(env!("VBB_LAYOUT"));
}

pub const FMT_BITMAP: u32 = 1 << 0;
/// Bitmap or records, whichever is shorter
pub const FMT_AUTO: u32 = FMT_BITMAP | 1 << 1;
/// The same without a search: a bitmap, or a record for each run
pub const FMT_QUICK: u32 = FMT_AUTO | 1 << 14;
pub const STATUS_OK: u16 = 0;
pub const STATUS_MALFORMED: u16 = 3;
const E_NOSPC: c_int = -1;

/// A run of pages: `pfn .. pfn + nr_pages`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub pfn: u64,
    pub nr_pages: u64,
}

/// A message's header
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub cmd: u16,
    pub page_shift: u16,
    pub flag: u16,
    pub format: u16,
    pub req_id: u64,
    pub start_pfn: u64,
    pub bmap_len: u64,
}

/// What the receiver of a message knows before; this is `struct vbb_dec_cfg`
#[repr(C)]
pub struct DecoderConfig {
    queue: c_uint,
    pub records: bool,
    pub limit_pfn: u64,
}

impl DecoderConfig {
    /// For messages of the inflate and deflate queues
    pub fn balloon(records: bool, limit_pfn: u64) -> Self {
        DecoderConfig { queue: 0, records, limit_pfn }
    }
}

/// What all messages of an encoder have in common; this is `struct vbb_enc_cfg`
#[repr(C)]
pub struct EncoderConfig {
    pub cmd: u16,
    pub page_shift: u16,
    pub req_id: u64,
    pub formats: u32,
}

/// A message that was closed; this is `struct vbb_msg`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Message {
    pub len: u64,
    pub nr_pages: u64,
    pub nr_blocks: u64,
    pub nr_bitmaps: u64,
    pub nr_extents: u64,
    pub format: u32,
}

/// A piece of a message. The library loads each byte once and expects that it may change any time:
/// so memory that a guest shares, which Rust sees as atomic bytes, will do.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Seg<'a> {
    base: *const c_void,
    len: usize,
    bytes: PhantomData<&'a [AtomicU8]>,
}

impl<'a> From<&'a [AtomicU8]> for Seg<'a> {
    fn from(bytes: &'a [AtomicU8]) -> Self {
        Seg { base: bytes.as_ptr().cast(), len: bytes.len(), bytes: PhantomData }
    }
}

impl<'a> From<&'a [u8]> for Seg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Seg { base: bytes.as_ptr().cast(), len: bytes.len(), bytes: PhantomData }
    }
}

/// A piece of memory for a message
#[repr(C)]
pub struct SegMut<'a> {
    base: *mut c_void,
    len: usize,
    bytes: PhantomData<&'a mut [u8]>,
}

impl<'a> From<&'a mut [u8]> for SegMut<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        SegMut { base: bytes.as_mut_ptr().cast(), len: bytes.len(), bytes: PhantomData }
    }
}

/// How far the runs of a slice were put: those before `pos`, and `nr_taken` pages at the front of that one
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub pos: usize,
    pub nr_taken: u64,
}

/// This is `struct vbb_run_list`
#[repr(C)]
struct RunList {
    run: *const Range,
    nr_runs: usize,
    pos: usize,
    nr_taken: u64,
}

// The structures that only the library looks into: as long as C's, and aligned at least as they are
type RawDecoder = [u64; (layout::DEC_LEN + 7) / 8];
type RawEncoder = [u64; (layout::ENC_LEN + 7) / 8];

const _: () = assert!(
    size_of::<DecoderConfig>() == layout::DEC_CFG_LEN
        && size_of::<EncoderConfig>() == layout::ENC_CFG_LEN
        && size_of::<Header>() == layout::HDR_LEN
        && size_of::<Message>() == layout::MSG_LEN
        && size_of::<RunList>() == layout::RUN_LIST_LEN
        && layout::DEC_HDR == 0
);

extern "C" {
    fn vbb_dec_init(d: *mut RawDecoder, cfg: *const DecoderConfig, seg: *const Seg, nr: usize) -> c_int;
    fn vbb_dec_next(d: *mut RawDecoder, r: *mut Range) -> c_int;
    fn vbb_dec_next_runs(d: *mut RawDecoder, r: *mut Range, nr: c_ushort) -> c_int;
    fn vbb_enc_init(e: *mut RawEncoder, cfg: *const EncoderConfig, seg: *const SegMut, nr: usize) -> c_int;
    fn vbb_enc_put(e: *mut RawEncoder, r: *mut Range) -> c_int;
    fn vbb_enc_put_runs(e: *mut RawEncoder, l: *mut RunList) -> c_int;
    fn vbb_enc_finish(e: *mut RawEncoder, flag: u16, msg: *mut Message) -> c_int;
    fn vbb_err_name(err: c_int) -> *const c_char;
    fn vbb_strerror(err: c_int) -> *const c_char;
}

/// What went wrong
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(c_int);

impl Error {
    fn check(err: c_int) -> Result<c_int, Error> {
        if err < 0 {
            Err(Error(err))
        } else {
            Ok(err)
        }
    }

    /// The error's name in the specification, such as `PFN_LIMIT`
    pub fn name(self) -> &'static str {
        // SAFETY: NULL, or a constant string of the library.
        unsafe {
            let name = vbb_err_name(self.0);

            if name.is_null() {
                "?"
            } else {
                CStr::from_ptr(name).to_str().unwrap_or("?")
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // SAFETY: never NULL, a constant string of the library.
        let text = unsafe { CStr::from_ptr(vbb_strerror(self.0)) };

        f.write_str(&text.to_string_lossy())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self)
    }
}

impl std::error::Error for Error {}

/// A message that is being decoded: an iterator over its runs. A fault is the last that it gives;
/// the runs before it stand. It cannot outlive the segments, nor they the bytes.
pub struct Decoder<'a> {
    raw: RawDecoder,
    ended: bool,
    segs: PhantomData<&'a [Seg<'a>]>,
}

impl<'a> Decoder<'a> {
    pub fn new(cfg: &DecoderConfig, segs: &'a [Seg<'a>]) -> Result<Self, Error> {
        let mut raw = [0; size_of::<RawDecoder>() / 8];

        // SAFETY: a Seg is laid out as struct vbb_seg, and borrows what it points to; the decoder keeps
        // pointers to the segments, which 'a covers, and none to itself.
        Error::check(unsafe { vbb_dec_init(&mut raw, cfg, segs.as_ptr(), segs.len()) })?;
        Ok(Decoder { raw, ended: false, segs: PhantomData })
    }

    pub fn header(&self) -> Header {
        // SAFETY: it is the first member, and vbb_dec_init() has set it.
        unsafe { *(&self.raw as *const RawDecoder).cast::<Header>() }
    }

    /// The next runs, as many as `room` takes: the part of it that was filled, empty at the end. A fault
    /// comes after the runs before it.
    pub fn runs<'r>(&mut self, room: &'r mut [Range]) -> Result<&'r [Range], Error> {
        let nr = room.len().min(c_ushort::MAX.into()) as c_ushort;

        assert!(nr > 0, "room for no run");
        if self.ended {
            return Ok(&[]);
        }
        // SAFETY: as for next(); the library fills nr of them at most.
        let ret = unsafe { vbb_dec_next_runs(&mut self.raw, room.as_mut_ptr(), nr) };

        self.ended = ret <= 0;
        Error::check(ret).map(|got| &room[..got as usize])
    }
}

impl Iterator for Decoder<'_> {
    type Item = Result<Range, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut run = Range::default();

        if self.ended {
            return None;
        }
        // SAFETY: vbb_dec_init() was called, and what it borrowed is still there.
        let ret = unsafe { vbb_dec_next(&mut self.raw, &mut run) };

        self.ended = ret <= 0;
        match ret {
            0 => None,
            _ => Some(Error::check(ret).map(|_| run)),
        }
    }
}

/// A message that is being made
pub struct Encoder<'a> {
    raw: Box<MaybeUninit<RawEncoder>>,
    segs: PhantomData<&'a mut [SegMut<'a>]>,
}

impl<'a> Encoder<'a> {
    pub fn new(cfg: &EncoderConfig, segs: &'a mut [SegMut<'a>]) -> Result<Self, Error> {
        let mut raw = Box::new(MaybeUninit::uninit());

        // SAFETY: as for a decoder; the library takes any content of the structure.
        Error::check(unsafe { vbb_enc_init(raw.as_mut_ptr(), cfg, segs.as_ptr(), segs.len()) })?;
        Ok(Encoder { raw, segs: PhantomData })
    }

    /// Puts a run in, and gives back the part that found no room.
    pub fn put(&mut self, mut run: Range) -> Result<Option<Range>, Error> {
        // SAFETY: vbb_enc_init() was called, and what it borrowed is still there.
        match unsafe { vbb_enc_put(self.raw.as_mut_ptr(), &mut run) } {
            E_NOSPC => Ok(Some(run)),
            err => Error::check(err).map(|_| None),
        }
    }

    /// Puts runs in from where `done` says, and moves it behind what was taken: all, or false where the rest
    /// found no room. A run that cannot be put is an error, and `done` is at it.
    pub fn put_runs(&mut self, runs: &[Range], done: &mut Progress) -> Result<bool, Error> {
        let Progress { pos, nr_taken } = *done;
        let mut list = RunList { run: runs.as_ptr(), nr_runs: runs.len(), pos, nr_taken };
        // SAFETY: as for put(); the library keeps no pointer to the runs, and looks at no more than there are.
        let ret = unsafe { vbb_enc_put_runs(self.raw.as_mut_ptr(), &mut list) };

        *done = Progress { pos: list.pos, nr_taken: list.nr_taken };
        match ret {
            E_NOSPC => Ok(false),
            err => Error::check(err).map(|_| true),
        }
    }

    pub fn finish(mut self) -> Result<Message, Error> {
        let mut msg = Message::default();

        // SAFETY: as for put().
        Error::check(unsafe { vbb_enc_finish(self.raw.as_mut_ptr(), 0, &mut msg) })?;
        Ok(msg)
    }
}
