//! SYNs, FINs and RSTs that their receiver drops because of a wrong checksum. Anyone can send one, and
//! the filter must not act on it.
//!
//! A sender that leaves checksums to its network card has not filled them in where they are seen. So the
//! SYN of each direction first has to show that its sender fills them in.

use super::{
    env::Env,
    state::{BLOCK_BYTES, Scratch, Syn},
};
use crate::walk::{HEADER_SPACE, Segment, Sum, of_header, tcp_flag};

/// Whether a SYN, FIN or RST must be ignored. One with payload never is.
#[inline(always)]
pub fn is_disproved<E: Env>(s: &mut Scratch, env: &mut E, segment: &Segment) -> bool {
    let len = u32::from(segment.header_len);
    if segment.payload_len != 0 {
        return false;
    }
    let zero = u64::from(E::forget(&s.block, 0));
    if let Some(header) = s.block.bytes.first_chunk_mut::<HEADER_SPACE>() {
        *header = bytemuck::cast([zero; HEADER_SPACE / 8]);
    }
    let len = E::mask(len, HEADER_SPACE as u32 - 1);
    if len == 0 || !env.load(&mut s.block, segment.payload_offset.wrapping_sub(len), len) {
        return false;
    }
    let Some(header) = s.block.bytes.first_chunk::<HEADER_SPACE>() else {
        return false;
    };
    let sum = of_header(&segment.key, header, len);
    let learns = sum == Sum::Right && segment.flags & tcp_flag::SYN != 0;
    if !learns && sum != Sum::Wrong {
        return false;
    }
    let own = Syn::SUMMED << (segment.direction as u32 & 1);
    env.syn(&segment.key, &mut s.syn);
    let known = s.syn.valid & own != 0;
    if learns && !known {
        s.syn.valid |= own;
        env.set_syn(&segment.key, &s.syn);
    }
    known && !learns
}

const _: () = assert!(HEADER_SPACE <= BLOCK_BYTES as usize);
