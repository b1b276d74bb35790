// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
//! This must not compile: a decoder that outlives its message.
#![allow(dead_code)]

mod vbb;

fn main() {
    let mut decoder = None;
    {
        let message = vec![0u8; 40];
        let segs = [vbb::Seg::from(&message[..])];

        decoder.replace(vbb::Decoder::new(&vbb::DecoderConfig::balloon(true, 0), &segs).unwrap());
    }
    decoder.unwrap().next();
}
