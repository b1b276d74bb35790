// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
//! A guest and a device with memory that both have mapped. The guest leaves a message in it and tells
//! the device where; the device gives back the pages that the message names, and answers.

mod vbb;

use std::error::Error;
use std::io;
use std::os::raw::{c_int, c_void};
use std::os::unix::net::UnixDatagram;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use vbb::{Decoder, DecoderConfig, Encoder, EncoderConfig, Progress, Range, Seg, SegMut};

const PAGE: usize = 4096;
const NR_PAGES: usize = 4096;
const MSG_OFF: usize = 5 * PAGE - 20; // across the border of two pages

extern "C" {
    fn mmap(addr: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, off: i64) -> *mut c_void;
    fn munmap(addr: *mut c_void, len: usize) -> c_int;
    fn madvise(addr: *mut c_void, len: usize, advice: c_int) -> c_int;
}

const PROT_READ_WRITE: c_int = 1 | 2;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x02 | 0x20;
const MADV_DONTNEED: c_int = 4;

/// A guest's memory: bytes that others may change at any time
struct Memory {
    base: *mut c_void,
}

impl Memory {
    fn new() -> io::Result<Self> {
        // SAFETY: a new mapping.
        let base = unsafe { mmap(ptr::null_mut(), NR_PAGES * PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0) };

        if base as isize == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(Memory { base })
    }

    fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: mapped as long as self lives.
        unsafe { slice::from_raw_parts(self.base.cast(), NR_PAGES * PAGE) }
    }

    fn discard(&self, run: &Range) -> io::Result<()> {
        let bytes = &self.bytes()[run.pfn as usize * PAGE..][..run.nr_pages as usize * PAGE];

        // SAFETY: within the mapping, as slicing has checked; what is there may change at any time.
        match unsafe { madvise(bytes.as_ptr() as *mut c_void, bytes.len(), MADV_DONTNEED) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: nothing borrows it any more.
        unsafe { munmap(self.base, NR_PAGES * PAGE) };
    }
}

/// The device's answer, struct virtio_balloon_bmap_result
fn result(nr_pages: u64, status: u16) -> [u8; 16] {
    let mut bytes = [0; 16];

    bytes[..8].copy_from_slice(&nr_pages.to_le_bytes());
    bytes[8..10].copy_from_slice(&status.to_le_bytes());
    bytes
}

fn inflate(mem: &Memory, segs: &[Seg], nr_pages: &mut u64) -> Result<(), Box<dyn Error>> {
    for run in Decoder::new(&DecoderConfig::balloon(true, NR_PAGES as u64), segs)? {
        let run = run?;

        mem.discard(&run)?;
        *nr_pages += run.nr_pages;
    }
    Ok(())
}

/// All runs of a message, and the fault that ended it, a few of them at a time
fn listed(segs: &[Seg]) -> (Vec<Range>, Option<vbb::Error>) {
    let mut room = [Range::default(); 3];
    let mut all = Vec::new();

    match Decoder::new(&DecoderConfig::balloon(true, 0), segs) {
        Err(fault) => (all, Some(fault)),
        Ok(mut message) => loop {
            match message.runs(&mut room) {
                Ok([]) => return (all, None),
                Ok(some) => all.extend_from_slice(some),
                Err(fault) => return (all, Some(fault)),
            }
        },
    }
}

/// The device takes one message: the guest tells its length, and where it lies is agreed.
fn serve(mem: &Memory, socket: &UnixDatagram) -> Result<String, Box<dyn Error>> {
    let mut len = [0; 8];
    let mut nr_pages = 0;

    socket.recv(&mut len)?;
    let message = &mem.bytes()[MSG_OFF..][..u64::from_le_bytes(len) as usize];
    let (head, tail) = message.split_at(message.len().min(20));
    let acted = inflate(mem, &[head.into(), tail.into()], &mut nr_pages);
    let status = if acted.is_ok() { vbb::STATUS_OK } else { vbb::STATUS_MALFORMED };

    socket.send(&result(nr_pages, status))?;
    Ok(acted.map_or_else(|err| err.to_string(), |()| "ok".to_string()))
}

/// The guest makes a message of all runs, or of as many as have room.
fn encode(formats: u32, runs: &[Range], buf: &mut [u8]) -> Result<vbb::Message, vbb::Error> {
    let cfg = EncoderConfig { cmd: 0, page_shift: 12, req_id: 0, formats };
    let mut segs = [SegMut::from(buf)];
    let mut enc = Encoder::new(&cfg, &mut segs)?;

    for run in runs {
        if enc.put(*run)?.is_some() {
            break;
        }
    }
    enc.finish()
}

/// The same, several runs in one call, and as many messages as it takes; gives back what they name.
fn encode_all(formats: u32, runs: &[Range], buf: &mut [u8], done: &mut Progress) -> Result<Vec<Range>, vbb::Error> {
    let cfg = EncoderConfig { cmd: 0, page_shift: 12, req_id: 0, formats };
    let mut named = Vec::new();

    loop {
        let mut segs = [SegMut::from(&mut *buf)];
        let mut enc = Encoder::new(&cfg, &mut segs)?;
        let before = *done;
        let all = enc.put_runs(runs, done)?;
        let msg = enc.finish()?;

        assert_ne!(*done, before, "a message that takes nothing");
        named.extend(listed(&[Seg::from(&buf[..msg.len as usize])]).0);
        if all {
            return Ok(named);
        }
    }
}

/// Sends a message; what the device said of it, and the pages that are gone.
fn exchange(mem: &Memory, message: &[u8], ends: &(UnixDatagram, UnixDatagram)) -> Result<(String, Vec<usize>), Box<dyn Error>> {
    let mut answer = [0; 16];

    for byte in mem.bytes() {
        byte.store(0xa5, Relaxed);
    }
    for (to, from) in mem.bytes()[MSG_OFF..].iter().zip(message) {
        to.store(*from, Relaxed);
    }
    ends.0.send(&(message.len() as u64).to_le_bytes())?;
    let said = serve(mem, &ends.1)?;
    assert_eq!(ends.0.recv(&mut answer)?, answer.len());

    let gone: Vec<usize> = (0..NR_PAGES).filter(|n| mem.bytes()[n * PAGE + 100].load(Relaxed) == 0).collect();
    let status = if said == "ok" { vbb::STATUS_OK } else { vbb::STATUS_MALFORMED };

    assert_eq!(answer, result(gone.len() as u64, status));
    println!("{} bytes, {} pages given back: {}", message.len(), gone.len(), said);
    Ok((said, gone))
}

fn pages(runs: &[Range]) -> Vec<usize> {
    runs.iter().flat_map(|r| r.pfn as usize..(r.pfn + r.nr_pages) as usize).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let runs = [
        Range { pfn: 512, nr_pages: 512 },
        Range { pfn: 1500, nr_pages: 1 },
        Range { pfn: 1502, nr_pages: 3 },
        Range { pfn: 3000, nr_pages: 1096 },
    ];
    let named = pages(&runs);
    let mem = Memory::new()?;
    let ends = UnixDatagram::pair()?;
    let mut buf = [0; 512];

    let msg = encode(vbb::FMT_AUTO, &runs, &mut buf)?;
    let message = &mut buf[..msg.len as usize];
    assert_eq!(msg.nr_pages, named.len() as u64);
    assert_eq!(exchange(&mem, message, &ends)?, ("ok".to_string(), named.clone()));

    // The header is good; the library has read it into a structure of ours.
    let segs = [Seg::from(&*message)];
    let header = Decoder::new(&DecoderConfig::balloon(true, 0), &segs)?.header();
    assert_eq!((header.page_shift, header.bmap_len), (12, msg.len - 32));

    // A message that lost its end: a fault with a name, and nothing is given back.
    let (_, gone) = exchange(&mem, &message[..message.len() - 8], &ends)?;
    assert!(gone.is_empty());
    let segs = [Seg::from(&message[..40])];
    assert_eq!(listed(&segs).1.map(vbb::Error::name), Some("LEN"));

    // Several runs at a time. A fault in the last record, an extent of no page, comes behind those before it.
    let msg = encode(vbb::FMT_QUICK, &runs, &mut buf)?;
    let message = &mut buf[..msg.len as usize];
    assert_eq!(listed(&[Seg::from(&*message)]), (runs.to_vec(), None));
    message.iter_mut().rev().take(8).for_each(|byte| *byte = 0);
    let (before, fault) = listed(&[Seg::from(&*message)]);
    assert_eq!((&before[..], fault.map(vbb::Error::name)), (&runs[..3], Some("REC_COUNT")));

    // The same towards the device. A buffer of 128 pages cuts runs; one that is none stops a call where it is.
    let mut done = Progress::default();
    let cut = encode_all(vbb::FMT_BITMAP, &runs, &mut buf[..48], &mut done)?;
    assert!(cut.len() > runs.len());
    assert_eq!(pages(&cut), named);
    assert_eq!(done, Progress { pos: runs.len(), nr_taken: 0 });
    let mut done = Progress::default();
    let bad = [runs[0], runs[1], Range::default(), runs[2]];
    assert!(encode_all(vbb::FMT_QUICK, &bad, &mut buf, &mut done).is_err());
    assert_eq!(done, Progress { pos: 2, nr_taken: 0 });
    Ok(())
}
