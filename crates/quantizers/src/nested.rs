//! Nested codes: one code of 8 bits whose upper bits are a code of every smaller width.
//!
//! # Definition
//! The slice of $r$ bits of a parent code $q$ of $p$ bits, in the units of the parent, is
//! $$ S(q, r) = \min\bigl( \lfloor (q + 2^{p-r-1}) / 2^{p-r} \rfloor,\ 2^r - 1 \bigr)\, 2^{p-r}, $$
//! an integer addition and a shift; ties go up. It stands for $(S - z)\,s$ with the scale and zero
//! point of the parent. A slice of a slice rounds twice and is another code: always slice the parent.
//!
//! # Reference
//! P. Nair et al., *Matryoshka Quantization*, 2025, arXiv:2502.06786.
//!
//! # Notes
//! - The clamp is what remains of the code $2^r$, which has no $r$ bits: the uppermost slice is wider
//!   and its values move down, by at most $2^{p-r} - 1$ parent steps, where all others move by half.
//! - Zero stays zero at width $r$ if its code $z$ is a multiple of $2^{p-r}$: always for symmetric
//!   codes stored from 0 to 255 with $z = 128$, seldom for those of a minimum and a maximum.

use serde::{Deserialize, Serialize};

use crate::{BitWidth, Codes, Levels, Mask, Params, QuantizerError};

/// The width of the parent codes of [`NestedCodes`].
const PARENT: u8 = 8;

/// $S$: the `bits` upper bits of a code of `parent_bits` bits, rounded half up, where they stand in the
/// parent; shifted down by the difference they are a code of `bits` bits. From `parent_bits` on, the
/// code itself.
#[inline]
pub fn slice(code: u8, parent_bits: u8, bits: u8) -> u8 {
    if bits >= parent_bits {
        return code;
    }
    let shift = u32::from(parent_bits - bits);
    let half = 1 << (shift - 1);
    let sliced = (u32::from(code) + half) >> shift;
    (sliced.min((1 << bits) - 1) << shift) as u8
}

/// Values that share scale and zero point, stored once and read at any width from 2 to 8 bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct NestedCodes {
    codes: Vec<u8>,
    params: Params,
}

/// [`NestedCodes`] as they are read, before they are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    codes: Vec<u8>,
    params: Params,
}

impl TryFrom<Stored> for NestedCodes {
    type Error = QuantizerError;

    fn try_from(Stored { codes, params }: Stored) -> Result<Self, QuantizerError> {
        check(&params)?;
        Ok(Self { codes, params })
    }
}

impl NestedCodes {
    /// The parent code nearest to each of `values`, `[n]`. `params` are those of codes from 0 to 255,
    /// for example of [`Affine`](crate::Affine) at 8 bits.
    ///
    /// # Errors
    /// [`QuantizerError::Params`] for a scale that is not above 0, a zero point that is no code, or values
    /// beyond `f32`; [`QuantizerError::NotFinite`] for a value.
    pub fn new(values: &[f32], params: Params) -> Result<Self, QuantizerError> {
        check(&params)?;
        if let Some(index) = values.iter().position(|x| !x.is_finite()) {
            return Err(QuantizerError::NotFinite { index, value: values[index] });
        }
        let parent = parent();
        let code = |&x| u8::try_from(parent.code(x, &params)).unwrap_or(u8::MAX);
        let codes = values.iter().map(code).collect();
        Ok(Self { codes, params })
    }

    /// The parent codes, `[n]`.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// What the parent codes stand for.
    pub fn params(&self) -> Params {
        self.params
    }

    /// The values at `bits` bits, `[n]`: at most $2^b$ distinct ones.
    ///
    /// # Errors
    /// [`QuantizerError::GridWidth`] outside 2 to 8 bits.
    pub fn dequantize(&self, bits: BitWidth) -> Result<Vec<f32>, QuantizerError> {
        if !(2..=PARENT).contains(&bits.get()) {
            return Err(QuantizerError::GridWidth { grid: "nested", bits, expected: "2 to 8" });
        }
        let parent = parent();
        let value = |&code| parent.value(slice(code, PARENT, bits.get()).into(), &self.params);
        Ok(self.codes.iter().map(value).collect())
    }
}

fn check(params: &Params) -> Result<(), QuantizerError> {
    let is_theirs = parent().can_have(params);
    if is_theirs { Ok(()) } else { Err(QuantizerError::Params { group: 0, params: *params }) }
}

fn parent() -> Codes {
    Codes::new(Levels::Integers { min: 0, max: 255 }, Mask::Rounded)
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{Affine, Extent, Grid};

    fn width(bits: u8) -> BitWidth {
        BitWidth::new(bits).unwrap()
    }

    fn parents() -> impl Iterator<Item = u8> {
        0..=u8::MAX
    }

    #[test]
    fn slices_of_4_bits() {
        // (7 + 8) >> 4 = 0, (8 + 8) >> 4 = 1, (24 + 8) >> 4 = 2, .. and 263 >> 4 = 16 is clamped to 15.
        let codes = [7, 8, 24, 40, 247, 255];
        assert_eq!(codes.map(|q| slice(q, 8, 4)), [0, 16, 32, 48, 240, 240]);
    }

    #[test]
    fn the_first_slice_is_half_a_cell_narrower_and_the_last_wider() {
        let counts =
            [0, 64, 128, 192].map(|cell| parents().filter(|&q| slice(q, 8, 2) == cell).count());
        assert_eq!(counts, [32, 64, 64, 96]);
    }

    #[test]
    fn a_slice_of_a_slice_is_another_code() {
        let differing = |(via, bits)| {
            parents().filter(|&q| slice(slice(q, 8, via), 8, bits) != slice(q, 8, bits)).count()
        };
        assert_eq!([(6, 4), (7, 4), (5, 3), (4, 4)].map(differing), [30, 15, 28, 0]);
    }

    #[test]
    fn slices_are_multiples_that_fit_their_width_for_every_parent() {
        for (parent_bits, bits) in (1..=8).flat_map(|p| (1..=p).map(move |r| (p, r))) {
            let step = 1 << (parent_bits - bits);
            let mut slices: Vec<u16> = (0..1 << parent_bits)
                .map(|q: u16| slice(u8::try_from(q).unwrap(), parent_bits, bits).into())
                .collect();
            assert!(slices.is_sorted() && slices.iter().all(|s| s % step == 0), "{slices:?}");
            slices.dedup();
            assert_eq!(slices.len(), 1 << bits, "{parent_bits} to {bits}");
        }
    }

    #[test]
    fn one_storage_serves_every_width() {
        let mut values = vec![0.0; 5_000];
        Key::from_seed(11).fill_normal(0, &mut values);
        let extent = Extent { low: -4.0, high: 4.5 };
        let params = Affine::default().params(extent, width(8)).unwrap();
        let nested = NestedCodes::new(&values, params).unwrap();
        assert_eq!(size_of_val(nested.codes()), values.len());

        let parent = Affine::default().codes(width(8)).unwrap();
        let at_8: Vec<f32> = values.iter().map(|&x| parent.quantize(x, &params)).collect();
        assert_eq!(nested.dequantize(width(8)).unwrap(), at_8);
        for bits in 2..8 {
            let mut at_bits = nested.dequantize(width(bits)).unwrap();
            // Half a cell of 2^(8 - bits) parent steps; a whole one, less a step, where clamped.
            let cell = f32::from(1_u16 << (8 - bits)) * params.scale;
            for (&code, (&x, &sliced)) in nested.codes.iter().zip(at_8.iter().zip(&at_bits)) {
                let clamped = u32::from(code) >= 256 - (1 << (7 - bits));
                let bound = if clamped { cell - params.scale } else { cell / 2.0 };
                assert!((x - sliced).abs() <= bound * (1.0 + 1e-5), "{bits}: {x} -> {sliced}");
            }
            at_bits.sort_by(f32::total_cmp);
            at_bits.dedup();
            assert!(at_bits.len() <= 1 << bits, "{} values of {bits} bits", at_bits.len());
        }
    }

    #[test]
    fn zero_in_the_middle_of_the_codes_stays_zero() {
        let params = Params { scale: 0.1, zero_point: 128, offset: 0.0 };
        let nested = NestedCodes::new(&[0.0, -0.04, 0.04, 1.0], params).unwrap();
        for bits in 2..=8 {
            assert_eq!(nested.dequantize(width(bits)).unwrap()[..3], [0.0; 3]);
        }
    }

    #[test]
    fn parameters_that_cannot_be_are_refused_also_when_read() {
        let right = Params { scale: 0.5, zero_point: 3, offset: 0.0 };
        let nested = NestedCodes::new(&[1.0, -1.0], right).unwrap();
        let written = toml::to_string(&nested).unwrap();
        assert_eq!(toml::from_str::<NestedCodes>(&written).unwrap(), nested);
        for (wrong, line) in [
            (Params { zero_point: i32::MIN, ..right }, "zero_point = -2147483648"),
            (Params { zero_point: 256, ..right }, "zero_point = 256"),
            (Params { scale: f32::NAN, ..right }, "scale = nan"),
            (Params { scale: 0.0, ..right }, "scale = 0.0"),
            (Params { scale: 1e37, ..right }, "scale = 1e37"), // 252 of them
            (Params { offset: f32::NEG_INFINITY, ..right }, "offset = -inf"),
        ] {
            let error = NestedCodes::new(&[1.0], wrong).unwrap_err();
            assert!(matches!(error, QuantizerError::Params { group: 0, .. }), "{error}");
            let key = line.split(' ').next().unwrap();
            let lines = written.lines();
            let changed: Vec<&str> =
                lines.map(|it| if it.starts_with(key) { line } else { it }).collect();
            let error = toml::from_str::<NestedCodes>(&changed.join("\n")).unwrap_err();
            assert!(error.to_string().contains("expected a scale above 0"), "{line}: {error}");
        }
    }

    #[test]
    fn other_widths_and_values_without_a_code_are_refused() {
        let params = Params::scale(0.1);
        let nested = NestedCodes::new(&[0.5], params).unwrap();
        for bits in [1, 9, 32] {
            let error = nested.dequantize(width(bits)).unwrap_err().to_string();
            let expected =
                format!("the grid `nested` has no codes of {bits} bits, expected 2 to 8");
            assert_eq!(error, expected);
        }
        let error = NestedCodes::new(&[0.5, f32::NAN], params).unwrap_err().to_string();
        assert_eq!(error, "value 1 is NaN, expected a finite number");
    }
}
