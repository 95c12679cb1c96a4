//! The inner loops: sums in an order that no vector width and no number of threads can change.
//!
//! # Definition
//! An inner product runs in 64 partial sums, lane $l$ taking the terms $l, l + 64, \dots$ in order; the
//! lanes are folded in halves, $s_l \leftarrow s_l + s_{l + h}$ for $h = 32, 16, \dots, 1$.
//!
//! Products are rounded before they are added: Rust never contracts the two to a fused operation, nor
//! reorders a sum. The compiler may therefore vectorise across outputs and lanes only, and each
//! instruction set that [`multiversion`] chooses from gives the same bits.

use multiversion::multiversion;

/// Partial sums of an inner product.
const LANES: usize = 64;

/// `a . b`.
#[multiversion(targets = "simd")]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    fold(lanes)
}

/// `out += scale x`.
#[multiversion(targets = "simd")]
pub(crate) fn axpy(scale: f32, x: &[f32], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += scale * x;
    }
}

/// `x *= factor`.
pub(crate) fn scale(factor: f32, x: &mut [f32]) {
    for x in x {
        *x *= factor;
    }
}

/// `s . x`, where $s_j$ is minus one if bit $j \bmod 64$ of word $\lfloor j / 64 \rfloor$ is set.
#[multiversion(targets = "simd")]
pub(crate) fn dot_signs(signs: &[u64], x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for (&word, x) in signs.iter().zip(blocks) {
        let flips = flips(word);
        for ((lane, x), flip) in lanes.iter_mut().zip(x).zip(flips) {
            *lane += f32::from_bits(x.to_bits() ^ flip);
        }
    }
    let flips = flips(signs.last().copied().unwrap_or(0));
    for ((lane, x), flip) in lanes.iter_mut().zip(rest).zip(flips) {
        *lane += f32::from_bits(x.to_bits() ^ flip);
    }
    fold(lanes)
}

/// `out += scale s`, with the signs of [`dot_signs`].
#[multiversion(targets = "simd")]
pub(crate) fn axpy_signs(scale: f32, signs: &[u64], out: &mut [f32]) {
    for (&word, out) in signs.iter().zip(out.chunks_mut(LANES)) {
        for (out, flip) in out.iter_mut().zip(flips(word)) {
            *out += f32::from_bits(scale.to_bits() ^ flip);
        }
    }
}

/// `x[j] = -x[j]` where bit `first + j` of the words is set.
pub(crate) fn flip_signs(signs: &[u64], first: usize, x: &mut [f32]) {
    for (x, bit) in x.iter_mut().zip(first..) {
        let [_, sign] = halves(signs[bit / 64] << (63 - bit % 64));
        *x = f32::from_bits(x.to_bits() ^ (sign & 1 << 31));
    }
}

/// The Walsh-Hadamard transform without normalisation, in place; the length is a power of two.
///
/// Butterflies $(x_i, x_{i+h}) \leftarrow (x_i + x_{i+h}, x_i - x_{i+h})$ for $h = 1, 2, 4, \dots$
#[multiversion(targets = "simd")]
pub(crate) fn hadamard(x: &mut [f32]) {
    const FIRST: usize = 16;
    let (blocks, rest) = x.as_chunks_mut::<FIRST>();
    for block in blocks {
        butterflies(block, 1);
        butterflies(block, 2);
        butterflies(block, 4);
        butterflies(block, 8);
    }
    let mut half = if rest.is_empty() { FIRST } else { 1 };
    while half < x.len() {
        butterflies(x, half);
        half *= 2;
    }
}

#[expect(clippy::inline_always, reason = "into each instruction set's copy of its caller")]
#[inline(always)]
fn butterflies(x: &mut [f32], half: usize) {
    for pair in x.chunks_exact_mut(2 * half) {
        let (left, right) = pair.split_at_mut(half);
        for (left, right) in left.iter_mut().zip(right) {
            (*left, *right) = (*left + *right, *left - *right);
        }
    }
}

/// The sign bit of lane `l` is bit `l` of the word.
#[expect(clippy::inline_always, reason = "into each instruction set's copy of its callers")]
#[inline(always)]
fn flips(word: u64) -> [u32; LANES] {
    let [low, high] = halves(word);
    std::array::from_fn(|lane| (if lane < 32 { low } else { high }) >> (lane % 32) << 31)
}

/// The low and the high half of a word.
#[expect(clippy::cast_possible_truncation, reason = "the halves of a word")]
pub(crate) const fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::conformance::normals;

    #[test]
    fn inner_products_have_the_bits_of_the_stated_order() {
        for len in [0, 1, 63, 64, 65, 200, 1_000] {
            let (a, b) = (normals("a", len), normals("b", len));
            let words: Vec<u64> = Key::from_seed(2).words(0).take(len.div_ceil(64)).collect();
            let sign = |j: usize| if words[j / 64] >> (j % 64) & 1 == 1 { -1.0 } else { 1.0 };
            let (mut plain, mut signed) = ([0.0_f32; 64], [0.0_f32; 64]);
            for j in 0..len {
                plain[j % 64] += a[j] * b[j];
                signed[j % 64] += a[j] * sign(j);
            }
            for half in [32, 16, 8, 4, 2, 1] {
                for l in 0..half {
                    plain[l] += plain[l + half];
                    signed[l] += signed[l + half];
                }
            }
            assert_eq!(dot(&a, &b).to_bits(), plain[0].to_bits(), "{len}");
            assert_eq!(dot_signs(&words, &a).to_bits(), signed[0].to_bits(), "{len}");

            let (mut out, mut out_signs, mut flipped) = (b.clone(), b.clone(), a.clone());
            axpy(0.3, &a, &mut out);
            axpy_signs(0.3, &words, &mut out_signs);
            flip_signs(&words, 0, &mut flipped);
            for j in 0..len {
                assert_eq!(out[j].to_bits(), (b[j] + 0.3 * a[j]).to_bits());
                assert_eq!(out_signs[j].to_bits(), (b[j] + 0.3 * sign(j)).to_bits());
                assert_eq!(flipped[j].to_bits(), (a[j] * sign(j)).to_bits());
            }
        }
    }

    /// Entry (i, j) of the matrix is minus one to the number of ones that i and j share.
    #[test]
    fn the_walsh_hadamard_transform_by_its_matrix() {
        for len in [1, 2, 8, 16, 64] {
            let x: Vec<f32> = (0..len).map(|i| (i * i % 17) as f32).collect();
            let mut fast = x.clone();
            hadamard(&mut fast);
            for (i, fast) in fast.into_iter().enumerate() {
                let sign = |j: usize| if (i & j).count_ones() % 2 == 1 { -1.0 } else { 1.0 };
                let slow: f32 = x.iter().enumerate().map(|(j, x)| sign(j) * x).sum();
                assert_eq!(fast, slow, "{i} of {len}"); // small integers are exact
            }
        }
    }
}
