/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause */
/*
 * Leaves. These are believed here, and each is proved in bit-vectors by tests/proof/leaves.smt2,
 * clause by clause. Memory that a peer shares is not part of the model: a load may give anything at
 * any time, so that a store need not say that it changes something.
 */

/*@ axiomatic vbb_leaves {
  @   logic integer vbb_two(integer n) reads \nothing;
  @   axiom two_0: vbb_two(0) == 1;
  @   axiom two_6: vbb_two(6) == 64;
  @   axiom two_12: vbb_two(12) == 0x1000;
  @   axiom two_32: vbb_two(32) == 0x100000000;
  @   axiom two_34: vbb_two(34) == 0x400000000;
  @   axiom two_51: vbb_two(51) == 0x8000000000000;
  @   axiom two_52: vbb_two(52) == 0x10000000000000;
  @   axiom two_56: vbb_two(56) == 0x100000000000000;
  @   axiom two_63: vbb_two(63) == 0x8000000000000000;
  @   axiom two_up: \forall integer a, b; 0 <= a <= b ==> 1 <= vbb_two(a) <= vbb_two(b);
  @   axiom two_split: \forall integer n; 0 <= n <= 64 ==>
  @     vbb_two(n) * vbb_two(64 - n) == 0x10000000000000000;
  @   predicate vbb_bit(integer v, integer b) reads \nothing;
  @   logic integer vbb_lowest(integer v) reads \nothing;
  @ }
  @ // how many bits it takes to write v
  @ axiomatic vbb_tops {
  @   logic integer vbb_top(integer v) reads \nothing;
  @   axiom top_0: vbb_top(0) == 0;
  @   axiom top_or: \forall integer a, b; 0 <= a && 0 <= b ==>
  @     vbb_top(a | b) == (vbb_top(a) > vbb_top(b) ? vbb_top(a) : vbb_top(b));
  @ }
  @ predicate vbb_aligned(integer v, integer n) = v % vbb_two(n) == 0;
  @ axiomatic vbb_masks {
  @   axiom two_58: vbb_two(58) == 0x400000000000000;
  @   axiom mask: \forall integer v, n; 0 <= v && 0 <= n <= 63 ==>
  @     ((v & (vbb_two(n) - 1)) == 0 <==> vbb_aligned(v, n));
  @   axiom mask_6: \forall integer v; 0 <= v ==> (v & 0x3f) == v % 0x40;
  @   axiom mask_52: \forall integer v; 0 <= v ==>
  @     (v & 0xfffffffffffff) == v % 0x10000000000000;
  @ }
  @*/

/*@ requires \valid_read(p + (0 .. 0));
  @ assigns \nothing;
  @*/
static inline vbb_u8 vbb_load8(const vbb_u8 *p);

/*@ requires \valid_read(p + (0 .. 1));
  @ assigns \nothing;
  @*/
static inline vbb_u16 vbb_load16(const vbb_u8 *p);

/*@ requires \valid_read(p + (0 .. 3));
  @ assigns \nothing;
  @*/
static inline vbb_u32 vbb_load32(const vbb_u8 *p);

/*@ requires \valid_read(p + (0 .. 7));
  @ assigns \nothing;
  @*/
static inline vbb_u64 vbb_load64(const vbb_u8 *p);

/*@ requires \valid(p + (0 .. 0));
  @ assigns \nothing;
  @*/
static inline void vbb_store8(vbb_u8 *p, vbb_u8 v);

/*@ requires \valid(p + (0 .. 7));
  @ assigns \nothing;
  @*/
static inline void vbb_store64(vbb_u8 *p, vbb_u64 v);

/*@ requires n <= 63;
  @ assigns \nothing;
  @ ensures \result == vbb_two(n);
  @*/
static inline vbb_u64 vbb_pow2(vbb_u32 n);

/*@ requires n <= 63;
  @ assigns \nothing;
  @ ensures \result <= v;
  @ ensures \result * vbb_two(n) <= v < (\result + 1) * vbb_two(n);
  @*/
static inline vbb_u64 vbb_shr(vbb_u64 v, vbb_u32 n);

/*@ requires n <= 63;
  @ assigns \nothing;
  @ ensures v * vbb_two(n) <= 0xffffffffffffffff ==> \result == v * vbb_two(n);
  @ ensures aligned: vbb_aligned(\result, n);
  @*/
static inline vbb_u64 vbb_shl(vbb_u64 v, vbb_u32 n);

/*@ requires v != 0;
  @ assigns \nothing;
  @ ensures \result <= 63;
  @ ensures vbb_bit(v, \result);
  @ ensures \result == vbb_lowest(v) && vbb_two(\result) <= v;
  @*/
static inline vbb_u32 vbb_ctz64(vbb_u64 v);

/*@ assigns \nothing;
  @ ensures a + b <= 0xffffffffffffffff ==> \result == a + b;
  @*/
static inline vbb_u64 vbb_add(vbb_u64 a, vbb_u64 b);

/*@ assigns \nothing;
  @ ensures \result == (a >= b ? a - b : a - b + 0x10000000000000000);
  @*/
static inline vbb_u64 vbb_sub(vbb_u64 a, vbb_u64 b);

/*@ requires b <= 63;
  @ assigns \nothing;
  @ ensures b + \result <= 64;
  @ ensures vbb_bit(v, b) ==> \result >= 1;
  @*/
static inline vbb_u32 vbb_ones64(vbb_u64 v, vbb_u32 b);

/*@ requires v != 0 && b == vbb_lowest(v);
  @ assigns \nothing;
  @ ensures 1 <= \result && b + \result <= 64;
  @*/
static inline vbb_u32 vbb_run64(vbb_u64 v, vbb_u32 b);

/*@ assigns \nothing;
  @ ensures v != 0 ==> \result < v;
  @ ensures v == 0 ==> \result == 0;
  @*/
static inline vbb_u64 vbb_drop64(vbb_u64 v);

/*@ requires n >= 1 && b + n <= 64;
  @ assigns \nothing;
  @ ensures vbb_top(\result) == b + n;
  @*/
static inline vbb_u64 vbb_mask64(vbb_u32 b, vbb_u32 n);

/*@ requires n <= 63;
  @ assigns \nothing;
  @ ensures \result % vbb_two(n) == 0;
  @ ensures v - vbb_two(n) < \result <= v;
  @*/
static inline vbb_u64 vbb_align_down(vbb_u64 v, vbb_u32 n);

/*@ requires n <= 63;
  @ assigns \nothing;
  @ ensures (v + \result - base) % vbb_two(n) == 0;
  @ ensures \result < vbb_two(n);
  @*/
static inline vbb_u64 vbb_gap(vbb_u64 v, vbb_u64 base, vbb_u32 n);
