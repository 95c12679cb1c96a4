//! A base whose output channels have the widths that an error budget needs.
//!
//! # Definition
//! Let $e_k(r)^2$ be the squared error and $c_k$ the bytes of channel $r$ at $k \in$ {int4, int8, fp16}.
//! * `channel`: each channel has the cheapest $k$ with $e_k(r) \le \varepsilon \lVert w_r \rVert$.
//! * `matrix`: bytes are least subject to $\sum_r e_k(r)^2 \le \varepsilon^2 \lVert W \rVert^2$ by the
//!   method of Lagrange. All channels begin at their best $k$; along the lower convex hull of its points
//!   $(c_k, e_k^2)$ each can step down; the steps are taken in the order of what they cost an error for a
//!   byte, until the first that the budget has no room for. That is the minimum of $c + \lambda e^2$ for the
//!   least $\lambda$ that meets the budget, and the optimum but for the last channel.
//!
//! A smaller budget never takes fewer bytes, and budget 0 is fp16 wherever that is better than the
//! integers. A width costs 2 bits a channel.
//!
//! # Reference
//! The allocation of bits by slopes: Y. Shoham, A. Gersho, IEEE Transactions on Acoustics, Speech, and
//! Signal Processing 36, 1988.

use serde::{Deserialize, Serialize};

use super::coding::{Layout, SCALE_BYTES, channel_errors, symmetric};
use super::{Base, BaseKind, CodeWidth, Coding, Fp16, RangeRule};
use crate::matrix::relative;
use crate::{OrthoError, Reference, Scope};

/// Fp16, 8 or 4 bits for each output channel.
///
/// ```toml
/// kind = "mixed"
/// budget = 0.05
/// scope = "matrix"
/// range = "absmax"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixed {
    /// $\varepsilon$, the largest relative error $\lVert W - B \rVert / \lVert W \rVert$.
    pub budget: f64,
    /// Whether the matrix or each channel keeps to it.
    pub scope: Scope,
    /// How the scales of 8 and 4 bits are chosen.
    pub range: RangeRule,
}

/// A twentieth of the norm, on average over the matrix.
impl Default for Mixed {
    fn default() -> Self {
        Self { budget: 0.05, scope: Scope::Matrix, range: RangeRule::Absmax }
    }
}

/// Cheapest first.
const CODINGS: [Coding; 3] = [Coding::Int4, Coding::Int8, Coding::Fp16];

/// Share of a budget that is left for the rounding of sums.
const ROUNDING: f64 = 1e-9;

/// What a channel costs and loses at each of [`CODINGS`].
#[derive(Debug, Clone, Copy)]
struct Choices {
    bytes: [usize; 3],
    /// Squared.
    errors: [f64; 3],
    /// $\lVert w_r \rVert^2$.
    energy: f64,
}

impl BaseKind for Mixed {
    fn encode(&self, reference: &Reference) -> Result<Base, OrthoError> {
        if !(self.budget >= 0.0 && self.budget.is_finite()) {
            let expected = "a finite number of at least 0";
            return Err(OrthoError::Setting { key: "budget", value: self.budget, expected });
        }
        let [d_in, d_out] = reference.matrix().shape();
        let bases = [
            symmetric(reference, CodeWidth::Four, self.range)?,
            symmetric(reference, CodeWidth::Eight, self.range)?,
            Fp16 {}.encode(reference)?,
        ];
        let errors = bases.each_ref().map(|it| channel_errors(reference, &it.values));
        let integers = |width: CodeWidth| width.bytes(d_in) + SCALE_BYTES;
        let bytes = [integers(CodeWidth::Four), integers(CodeWidth::Eight), 2 * d_in];
        let channels: Vec<Choices> = (0..d_out)
            .map(|out| Choices {
                bytes,
                errors: errors.each_ref().map(|it| it[out][0]),
                energy: errors[0][out][1],
            })
            .collect();
        let chosen = match self.scope {
            Scope::Channel => self.by_channel(&channels)?,
            Scope::Matrix => self.by_slope(&channels)?,
        };
        let value = |place: usize| bases[chosen[place % d_out]].values[place];
        Ok(Base {
            values: (0..d_in * d_out).map(value).collect(),
            shape: [d_in, d_out],
            channels: chosen.iter().enumerate().map(|(out, &k)| bases[k].channels[out]).collect(),
            layout: Layout::Mixed,
            bytes: chosen.iter().map(|&k| bytes[k]).sum::<usize>() + d_out.div_ceil(4),
            outside: None,
        })
    }
}

impl Mixed {
    /// Places in [`CODINGS`]: the cheapest within the budget of each channel.
    fn by_channel(&self, channels: &[Choices]) -> Result<Vec<usize>, OrthoError> {
        let choose = |channel: &Choices| {
            let error = |k: usize| relative(channel.errors[k], channel.energy);
            let within = (0..CODINGS.len()).filter(|&k| error(k) <= self.budget);
            within.min_by_key(|&k| channel.bytes[k]).ok_or_else(|| OrthoError::Budget {
                budget: self.budget,
                least: (0..CODINGS.len()).map(error).fold(f64::INFINITY, f64::min),
            })
        };
        channels.iter().map(choose).collect()
    }

    /// The same for the budget of the matrix.
    fn by_slope(&self, channels: &[Choices]) -> Result<Vec<usize>, OrthoError> {
        let budget = self.budget.powi(2) * channels.iter().map(|it| it.energy).sum::<f64>();
        let hulls: Vec<Vec<usize>> = channels.iter().map(Choices::hull).collect();
        let mut chosen: Vec<usize> = hulls.iter().map(|hull| hull[0]).collect();
        let total = |chosen: &[usize]| -> f64 {
            channels.iter().zip(chosen).map(|(channel, &k)| channel.errors[k]).sum()
        };
        if total(&chosen) > budget {
            let energy = channels.iter().map(|it| it.energy).sum();
            let least = relative(total(&chosen), energy);
            return Err(OrthoError::Budget { budget: self.budget, least });
        }
        let mut steps: Vec<(f64, usize, usize)> = Vec::new();
        for (row, (channel, hull)) in channels.iter().zip(&hulls).enumerate() {
            steps.extend(hull.windows(2).map(|it| (channel.slope(it[0], it[1]), row, it[1])));
        }
        steps.sort_by(|a, b| a.0.total_cmp(&b.0)); // stable: a channel's steps stay in order
        let (mut error, budget) = (total(&chosen), budget * (1.0 - ROUNDING));
        for (_, row, to) in steps {
            error += channels[row].errors[to] - channels[row].errors[chosen[row]];
            if error > budget {
                break;
            }
            chosen[row] = to;
        }
        Ok(chosen)
    }
}

impl Choices {
    /// Error gained for a byte saved.
    fn slope(&self, from: usize, to: usize) -> f64 {
        (self.errors[to] - self.errors[from]) / (self.bytes[from] - self.bytes[to]) as f64
    }

    /// The places on the lower convex hull, from the least error down in bytes.
    fn hull(&self) -> Vec<usize> {
        // Of equal errors the cheaper, of equal bytes the better.
        let order = |a: &usize, b: &usize| {
            self.errors[*a].total_cmp(&self.errors[*b]).then(self.bytes[*a].cmp(&self.bytes[*b]))
        };
        let mut places = [0, 1, 2];
        places.sort_by(order);
        let mut hull: Vec<usize> = Vec::new();
        for place in places {
            if hull.last().is_some_and(|&last| self.bytes[place] >= self.bytes[last]) {
                continue; // costs as much and loses more
            }
            while let [.., before, last] = hull[..]
                && self.slope(before, last) >= self.slope(last, place)
            {
                hull.pop();
            }
            hull.push(place);
        }
        hull
    }
}

#[cfg(test)]
mod tests {
    use counter_rng::Key;

    use super::*;
    use crate::{Matrix, Storage};

    /// Channels of different weight and tails: normal values to the power 1, 3 and 5, and zeros.
    fn reference(storage: Storage) -> Reference {
        let shape = [256, 40];
        let mut values = vec![0.0; 256 * 40];
        Key::from_seed(11).fill_normal(0, &mut values);
        for (place, value) in values.iter_mut().enumerate() {
            let out = place % 40;
            *value = 0.02 * (out % 7) as f32 * value.powi([1, 3, 5][out % 3]);
        }
        Reference::cast(Matrix::new(&values, shape).unwrap(), storage).unwrap()
    }

    fn error(reference: &Reference, base: &Base) -> f64 {
        let sums = channel_errors(reference, &base.values);
        let sum = |k: usize| sums.iter().map(|it| it[k]).sum();
        relative(sum(0), sum(1))
    }

    #[test]
    fn the_budget_is_kept_and_spent() {
        let reference = reference(Storage::F16);
        for scope in [Scope::Matrix, Scope::Channel] {
            let mut bytes = usize::MAX;
            for budget in [0.0, 1e-4, 1e-3, 0.005, 0.01, 0.03, 0.1, 0.15, 0.2, 0.4, 1.0] {
                let base = Mixed { budget, scope, ..Mixed::default() }.encode(&reference).unwrap();
                assert!(error(&reference, &base) <= budget, "{scope:?} {budget}");
                assert!(base.bytes() <= bytes, "{scope:?} {budget}");
                bytes = base.bytes();
                if scope == Scope::Channel {
                    for it in channel_errors(&reference, &base.values) {
                        assert!(relative(it[0], it[1]) <= budget);
                    }
                }
            }
            assert_eq!(bytes, 40 * (128 + 2) + 10); // everything at 4 bits
        }
    }

    #[test]
    fn without_a_budget_everything_is_fp16() {
        let reference = reference(Storage::F16);
        let base = Mixed { budget: 0.0, ..Mixed::default() }.encode(&reference).unwrap();
        assert_eq!(base.matrix(), reference.matrix());
        let zeros = (0..40).filter(|out| out % 7 == 0).count(); // nothing to lose at 4 bits
        let fp16 = base.channels().iter().filter(|it| it.coding == Coding::Fp16).count();
        assert_eq!((zeros, fp16), (6, 34));
        assert_eq!(base.bytes(), 34 * 512 + 6 * 130 + 10);
    }

    #[test]
    fn fp16_may_not_be_enough() {
        let reference = reference(Storage::F32);
        for scope in [Scope::Matrix, Scope::Channel] {
            let error = Mixed { budget: 1e-5, scope, ..Mixed::default() }.encode(&reference);
            let Err(OrthoError::Budget { budget, least }) = error else { panic!("{error:?}") };
            assert!(budget == 1e-5 && (1e-4..3e-4).contains(&least), "{least}");
        }
        for budget in [-0.1, f64::NAN, f64::INFINITY] {
            let error = Mixed { budget, ..Mixed::default() }.encode(&reference);
            assert!(matches!(error, Err(OrthoError::Setting { key: "budget", .. })));
        }
    }

    /// All 3^8 choices of 8 channels: none that keeps to the budget is cheaper by more than one channel.
    #[test]
    fn no_choice_is_cheaper_by_more_than_a_channel() {
        let bytes = [10, 18, 32];
        let channels: Vec<Choices> = (1..=8)
            .map(|i| {
                let size = f64::from(i * i % 11) + 0.5;
                Choices { bytes, errors: [size, 0.1 * size, 0.0], energy: 10.0 * size }
            })
            .collect();
        let cost = |chosen: &[usize]| chosen.iter().map(|&k| bytes[k]).sum::<usize>();
        for budget in [0.02, 0.05, 0.1, 0.15, 0.2, 0.3] {
            let mixed = Mixed { budget, ..Mixed::default() };
            let found = cost(&mixed.by_slope(&channels).unwrap());
            let limit = budget * budget * channels.iter().map(|it| it.energy).sum::<f64>();
            let best = (0..3_usize.pow(8))
                .map(|code| (0..8).map(|i| code / 3_usize.pow(i) % 3).collect::<Vec<_>>())
                .filter(|it| {
                    channels.iter().zip(it).map(|(it, &k)| it.errors[k]).sum::<f64>() <= limit
                })
                .map(|it| cost(&it))
                .min()
                .unwrap();
            assert!(best <= found && found < best + 32 - 10, "{budget}: {found}, {best}");
        }
    }

    #[test]
    fn what_the_hull_leaves_out() {
        let hull = |bytes, errors| Choices { bytes, errors, energy: 1.0 }.hull();
        assert_eq!(hull([10, 20, 30], [0.9, 0.1, 0.0]), [2, 1, 0]); // slopes .01 and .08
        assert_eq!(hull([10, 20, 30], [0.9, 0.8, 0.0]), [2, 0]); // .08 and .01: above the line
        assert_eq!(hull([10, 20, 30], [0.0, 0.0, 0.0]), [0]);
        assert_eq!(hull([10, 20, 15], [0.9, 0.1, 0.0]), [2, 0]); // 8 bits of one weight and a scale
    }
}
