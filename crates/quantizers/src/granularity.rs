//! The third axis of a fake quantiser: which values share a scale.
//!
//! # Definition
//! In $y_{to} = \sum_i x_{ti} W_{io}$ a scale can leave the integer sum only where it does not vary
//! along the contraction $i$, or where it is constant on groups of $i$ that both operands share.
//!
//! | | weight `[d_in, d_out]` | activation `[tokens, d_in]` |
//! |---|---|---|
//! | `tensor` | one | one |
//! | `channel:AXIS` | one an output: axis 1 | refused along the features, axis 1 |
//! | `group:N` | one for N consecutive inputs of an output | one for N consecutive features of a token |
//! | `token` | refused | one a row |
//!
//! What is refused can be had another way: a scale a token, or the scale of a feature folded into the
//! weights (G. Xiao et al., *`SmoothQuant`*, ICML 2023, arXiv:2211.10438).

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::QuantizerError;

/// Which values of a matrix share a scale. Written `tensor`, `channel:AXIS` (or `channel`, for axis
/// 1), `group:N`, `group:N:pad` or `token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Granularity {
    /// All.
    Tensor,
    /// Those with the same index along an axis: the scale is a vector along `axis`, 0 or 1, and
    /// reduces over the other.
    Channel {
        /// The axis along which scales differ.
        axis: usize,
    },
    /// Runs of `size` consecutive indices along the contraction.
    Group {
        /// How many values share a scale.
        size: NonZeroUsize,
        /// Whether a last group that is short is filled up with zeros, which take no code, instead
        /// of being an error.
        pad: bool,
    },
    /// Those of a row of an activation.
    Token,
}

/// One scale an output channel of a weight `[d_in, d_out]`: axis 1.
impl Default for Granularity {
    fn default() -> Self {
        Self::Channel { axis: 1 }
    }
}

/// What a matrix is in a product $y = x W$.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operand {
    /// $W$, `[d_in, d_out]`, as in burn and in `Conv1D` of Hugging Face.
    #[default]
    Weight,
    /// $W^\top$, `[d_out, d_in]`, as in `torch.nn.Linear`.
    TransposedWeight,
    /// $x$, `[tokens, d_in]`.
    Activation,
}

impl Operand {
    /// The axis that the product sums over.
    pub fn contraction(self) -> usize {
        match self {
            Self::Weight => 0,
            Self::TransposedWeight | Self::Activation => 1,
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "weight [d_in, d_out]",
            Self::TransposedWeight => "weight [d_out, d_in]",
            Self::Activation => "activation [tokens, d_in]",
        })
    }
}

impl Granularity {
    /// The groups into which this divides a matrix `[rows, cols]`.
    ///
    /// # Errors
    /// [`QuantizerError::Granularity`] if the scale would vary along the contraction or a weight has
    /// no tokens, [`QuantizerError::GroupSize`] if the groups do not come out even,
    /// [`QuantizerError::Setting`] for an axis above 1, [`QuantizerError::Shape`] for more values than a
    /// slice can hold.
    pub fn groups(self, operand: Operand, shape: [usize; 2]) -> Result<Groups, QuantizerError> {
        let [rows, cols] = shape;
        let Some(values) = rows.checked_mul(cols) else {
            return Err(QuantizerError::Shape { len: usize::MAX, shape }); // which is the most
        };
        let contraction = operand.contraction();
        let refused = |advice| QuantizerError::Granularity { granularity: self, operand, advice };
        let layout = match self {
            Self::Tensor => Layout::Runs { line: values, run: values },
            Self::Channel { axis: axis @ 2.. } => {
                let (name, expected) = ("axis", "0 or 1, of a matrix");
                return Err(QuantizerError::Setting { name, value: axis as f64, expected });
            }
            Self::Channel { axis } if axis == contraction => {
                return Err(refused(match operand {
                    Operand::Activation => {
                        "take one scale a `token`, or fold those of the features into the weights"
                    }
                    Operand::Weight => "the outputs are `channel:1`; or take `group:N`",
                    Operand::TransposedWeight => "the outputs are `channel:0`; or take `group:N`",
                }));
            }
            Self::Channel { axis: 0 } => Layout::Runs { line: cols, run: cols },
            Self::Channel { .. } => Layout::Columns { height: rows },
            Self::Token if operand != Operand::Activation => {
                return Err(refused("a weight has no tokens: take `channel` or `group:N`"));
            }
            Self::Token => Layout::Runs { line: cols, run: cols },
            Self::Group { size, pad } => {
                let (size, length) = (size.get(), shape[contraction]);
                if !pad && !length.is_multiple_of(size) {
                    return Err(QuantizerError::GroupSize { size, length });
                }
                let size = size.min(length.max(1));
                if contraction == 0 {
                    Layout::Columns { height: size }
                } else {
                    Layout::Runs { line: cols, run: size }
                }
            }
        };
        Ok(Groups { shape, layout })
    }
}

impl FromStr for Granularity {
    type Err = QuantizerError;

    fn from_str(text: &str) -> Result<Self, QuantizerError> {
        let parts: Vec<&str> = text.split(':').collect();
        let parsed = match parts[..] {
            ["tensor"] => Some(Self::Tensor),
            ["token"] => Some(Self::Token),
            ["channel"] => Some(Self::Channel { axis: 1 }),
            ["channel", axis] => axis.parse().ok().map(|axis| Self::Channel { axis }),
            ["group", size] => size.parse().ok().map(|size| Self::Group { size, pad: false }),
            ["group", size, "pad"] => size.parse().ok().map(|size| Self::Group { size, pad: true }),
            _ => None,
        };
        parsed.ok_or_else(|| QuantizerError::GranularityName(text.to_owned()))
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor => f.write_str("tensor"),
            Self::Channel { axis } => write!(f, "channel:{axis}"),
            Self::Group { size, pad: false } => write!(f, "group:{size}"),
            Self::Group { size, pad: true } => write!(f, "group:{size}:pad"),
            Self::Token => f.write_str("token"),
        }
    }
}

impl TryFrom<String> for Granularity {
    type Error = QuantizerError;

    fn try_from(text: String) -> Result<Self, QuantizerError> {
        text.parse()
    }
}

impl From<Granularity> for String {
    fn from(granularity: Granularity) -> Self {
        granularity.to_string()
    }
}

/// A matrix divided into groups that share a scale. They are numbered by row of groups, then by
/// column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    shape: [usize; 2],
    layout: Layout,
}

/// Where the values of a group lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The matrix is a sequence of lines of `line` values, and each line one of runs of `run`, the
    /// last of which may be short.
    Runs { line: usize, run: usize },
    /// `height` rows, the last time perhaps fewer, of each column.
    Columns { height: usize },
}

/// Columns gathered together: four lines of the cache of each row, which are read ahead.
const STRIP: usize = 64;

impl Groups {
    /// `[rows, cols]` of the matrix.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// How many values the matrix has.
    pub fn values(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// How many groups there are.
    pub fn count(&self) -> usize {
        let [rows, cols] = self.shape;
        match self.layout {
            _ if rows * cols == 0 => 0,
            Layout::Runs { line, run } => rows * cols / line * line.div_ceil(run),
            Layout::Columns { height } => rows.div_ceil(height) * cols,
        }
    }

    /// `[rows, cols]` of a group: the matrix is a grid of such blocks, the last of which may be short.
    pub fn block(&self) -> [usize; 2] {
        let [rows, cols] = self.shape;
        match self.layout {
            Layout::Runs { line, run } if line == run && line == rows * cols => [rows, cols],
            Layout::Runs { run, .. } => [1, run],
            Layout::Columns { height } => [height, 1],
        }
    }

    /// The group of the value at `index`, row by row.
    pub fn group(&self, index: usize) -> usize {
        match self.layout {
            Layout::Runs { line, run } => index / line * line.div_ceil(run) + index % line / run,
            Layout::Columns { height } => {
                let cols = self.shape[1];
                index / cols / height * cols + index % cols
            }
        }
    }

    /// `visit` of every group and its values, in order.
    ///
    /// # Panics
    /// If there are not `rows * cols` values.
    pub fn map<T: Send>(
        &self,
        values: &[f32],
        visit: impl Fn(usize, &[f32]) -> T + Sync,
    ) -> Vec<T> {
        assert_eq!(values.len(), self.values(), "a matrix {:?}", self.shape);
        if values.is_empty() {
            return Vec::new();
        }
        match self.layout {
            Layout::Runs { line, run } => {
                let runs = line.div_ceil(run);
                let run_of = |group: usize| {
                    let start = group / runs * line + group % runs * run;
                    &values[start..(start + run).min((group / runs + 1) * line)]
                };
                let groups = (0..self.count()).into_par_iter();
                groups.map(|group| visit(group, run_of(group))).collect()
            }
            Layout::Columns { height } => {
                let cols = self.shape[1];
                let strips = cols.div_ceil(STRIP);
                let bands = self.shape[0].div_ceil(height);
                let strip_of = |place: usize| {
                    let (band, first) = (place / strips, place % strips * STRIP);
                    let rows = &values[band * height * cols..];
                    let rows = &rows[..rows.len().min(height * cols)];
                    let width = STRIP.min(cols - first);
                    let height = rows.len() / cols;
                    let columns = transposed(&rows[first..], cols, width, height);
                    let visited = columns.chunks_exact(height).enumerate();
                    let visited =
                        visited.map(|(column, values)| visit(band * cols + first + column, values));
                    visited.collect::<Vec<_>>()
                };
                (0..bands * strips).into_par_iter().flat_map_iter(strip_of).collect()
            }
        }
    }
}

/// The first `width` columns, up to [`STRIP`], of `height` rows that are `stride` apart.
fn transposed(rows: &[f32], stride: usize, width: usize, height: usize) -> Vec<f32> {
    let mut columns = vec![0.0; width * height];
    let mut tile = [[0.0; STRIP]; STRIP];
    for (place, rows) in rows.chunks(stride * STRIP).enumerate() {
        let mut len = 0;
        for (tile, row) in tile.iter_mut().zip(rows.chunks(stride)) {
            tile[..width].copy_from_slice(&row[..width]);
            len += 1;
        }
        for (column, values) in columns.chunks_exact_mut(height).enumerate() {
            let values = &mut values[place * STRIP..][..len];
            values.iter_mut().zip(&tile).for_each(|(value, row)| *value = row[column]);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Operand; 3] = [Operand::Weight, Operand::TransposedWeight, Operand::Activation];

    /// A matrix of its own indices, gathered by group.
    fn gathered(granularity: &str, operand: Operand, shape: [usize; 2]) -> Vec<Vec<f32>> {
        let groups = granularity.parse::<Granularity>().unwrap().groups(operand, shape).unwrap();
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|index| index as f32).collect();
        let gathered = groups.map(&values, |group, values| {
            let is_here = |index: usize| values.contains(&(index as f32));
            assert!((0..groups.values()).all(|it| is_here(it) == (groups.group(it) == group)));
            let ([height, width], cols) = (groups.block(), groups.shape()[1]);
            let of_block =
                |it: usize| it / cols / height * cols.div_ceil(width) + it % cols / width;
            assert!((0..groups.values()).all(|it| groups.group(it) == of_block(it)));
            values.to_vec()
        });
        assert_eq!(gathered.len(), groups.count());
        gathered
    }

    #[test]
    #[rustfmt::skip]
    fn groups_of_a_matrix_of_four_rows_and_two_columns() {
        // 0 1
        // 2 3
        // 4 5
        // 6 7
        let groups = |granularity, operand| gathered(granularity, operand, [4, 2]);
        let columns = [[0.0, 2.0, 4.0, 6.0], [1.0, 3.0, 5.0, 7.0]];
        let rows = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]];
        for operand in ALL {
            assert_eq!(groups("tensor", operand), [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]);
        }
        assert_eq!(groups("channel", Operand::Weight), columns);
        assert_eq!(groups("channel:0", Operand::TransposedWeight), rows);
        assert_eq!(groups("channel:0", Operand::Activation), rows);
        assert_eq!(groups("token", Operand::Activation), rows);
        assert_eq!(
            groups("group:2", Operand::Weight),
            [[0.0, 2.0], [1.0, 3.0], [4.0, 6.0], [5.0, 7.0]]
        );
        assert_eq!(
            groups("group:3:pad", Operand::Weight),
            [&[0.0, 2.0, 4.0][..], &[1.0, 3.0, 5.0], &[6.0], &[7.0]]
        );
        let wide = |granularity, operand| gathered(granularity, operand, [2, 4]);
        for operand in [Operand::TransposedWeight, Operand::Activation] {
            assert_eq!(wide("group:2", operand), rows);
            assert_eq!(
                wide("group:3:pad", operand),
                [&[0.0, 1.0, 2.0][..], &[3.0], &[4.0, 5.0, 6.0], &[7.0]]
            );
        }
        for granularity in ["tensor", "channel", "group:2"] {
            assert!(gathered(granularity, Operand::Weight, [0, 3]).is_empty());
            assert!(gathered(granularity, Operand::Weight, [2, 0]).is_empty());
        }
        assert_eq!(gathered("channel", Operand::Weight, [3, 50])[49], [49.0, 99.0, 149.0]);
    }

    #[test]
    fn a_scale_along_the_contraction_is_refused_with_the_way_out() {
        let message = |granularity: &str, operand| {
            let granularity: Granularity = granularity.parse().unwrap();
            granularity.groups(operand, [8, 6]).unwrap_err().to_string()
        };
        assert_eq!(
            message("channel:1", Operand::Activation),
            "`channel:1` for an activation [tokens, d_in], expected scales that do not vary along the \
             contraction: take one scale a `token`, or fold those of the features into the weights"
        );
        assert!(message("channel:0", Operand::Weight).ends_with("`channel:1`; or take `group:N`"));
        assert!(
            message("channel:1", Operand::TransposedWeight)
                .ends_with("`channel:0`; or take `group:N`")
        );
        assert!(message("token", Operand::Weight).contains("a weight has no tokens"));
        assert_eq!(
            message("channel:2", Operand::Weight),
            "`axis` is 2, expected 0 or 1, of a matrix"
        );
        assert_eq!(
            message("group:3", Operand::Weight),
            "8 inputs are no multiple of the group size 3, expected one, or `group:3:pad`"
        );
        assert!(message("group:4", Operand::Activation).starts_with("6 inputs"));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["tensor", "channel:0", "channel:1", "group:64", "group:7:pad", "token"] {
            assert_eq!(name.parse::<Granularity>().unwrap().to_string(), name);
        }
        assert_eq!("channel".parse(), Ok(Granularity::default()));
        for name in ["", "row", "group", "group:0", "group:-1", "group:4:x", "channel:x", "token:1"]
        {
            let error = name.parse::<Granularity>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "granularity `{name}`, expected `tensor`, `channel:AXIS`, `group:N`, \
                     `group:N:pad` or `token`"
                )
            );
        }
    }
}
