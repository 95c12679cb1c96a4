//! Which tensors of a checkpoint are analysed, and as which matrices.

use std::borrow::Cow;
use std::ops::Range;

use quantizers::Operand;
use serde::{Deserialize, Serialize};
use spectral::{Mode, SpectrumError, Weights};
use subspace_projectors::name_matches;
use weight_files::TensorInfo;

use super::SpectralStudy;
use crate::Orientation;
use crate::quantize_checkpoint::operand_of;

/// What a convolution kernel `[out, in, height, width]` is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernels {
    /// One spectrum of the matrices of all its places, as WeightWatcher has it.
    #[default]
    Pooled,
    /// A spectrum for each place.
    Slices,
    /// One matrix, `[out, in * height * width]`.
    Flat,
}

/// A matrix, or what counts as one, in a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// Of the tensor, and in brackets the part where there is more than one.
    pub(super) name: String,
    /// Of the tensor in the checkpoint.
    pub(super) tensor: usize,
    pub(super) operand: Operand,
    view: View,
}

#[derive(Debug, Clone, PartialEq)]
enum View {
    /// Consecutive values from `start`.
    Matrix { start: usize, shape: [usize; 2] },
    /// Columns `from..from + shape[1]` of rows of `width`.
    Columns { from: usize, width: usize, shape: [usize; 2] },
    /// All places of a kernel, or one of them.
    Kernel { shape: [usize; 4], place: Option<usize> },
}

impl Part {
    /// Its values in those of its tensor, row by row.
    pub(super) fn values<'a>(&self, tensor: &'a [f32]) -> Cow<'a, [f32]> {
        match &self.view {
            View::Matrix { start, shape: [rows, cols] } => {
                Cow::Borrowed(&tensor[*start..start + rows * cols])
            }
            View::Columns { from, width, shape } => {
                let rows = tensor.chunks_exact(*width);
                Cow::Owned(rows.flat_map(|row| &row[*from..from + shape[1]]).copied().collect())
            }
            View::Kernel { .. } => Cow::Borrowed(tensor),
        }
    }

    /// Its elements among those of its tensor, if they lie in one piece.
    pub(super) fn range(&self) -> Option<Range<usize>> {
        match self.view {
            View::Matrix { start, shape: [rows, cols] } => Some(start..start + rows * cols),
            View::Columns { .. } | View::Kernel { .. } => None,
        }
    }

    /// `[rows, cols]` in which its values are quantised: a kernel has a row an output.
    pub(super) fn shape(&self) -> [usize; 2] {
        match self.view {
            View::Matrix { shape, .. } | View::Columns { shape, .. } => shape,
            View::Kernel { shape: [out, rest @ ..], .. } => [out, rest.iter().product()],
        }
    }

    /// What its [`values`](Self::values) are to a spectrum.
    pub(super) fn weights<'a>(&self, values: &'a [f32]) -> Result<Weights<'a>, SpectrumError> {
        match self.view {
            View::Matrix { shape, .. } | View::Columns { shape, .. } => {
                Weights::matrix(values, shape)
            }
            View::Kernel { shape, place: None } => Weights::kernel(values, shape),
            View::Kernel { shape, place: Some(place) } => {
                Ok(Weights::kernel_slices(values, shape)?.swap_remove(place))
            }
        }
    }

    /// All that decides what is made of its values.
    pub(super) fn key(&self) -> String {
        format!("{} {:?} {:?}", self.name, self.view, self.operand)
    }

    /// Sides of a matrix, the larger first, and how many matrices are one spectrum.
    pub(super) fn sides(&self) -> [usize; 3] {
        let ([rows, cols], slices) = match self.view {
            View::Matrix { shape, .. } | View::Columns { shape, .. } => (shape, 1),
            View::Kernel { shape, place } => {
                let (sides, places) = Weights::kernel_sides(shape);
                (sides, if place.is_some() { 1 } else { places })
            }
        };
        [rows.max(cols), rows.min(cols), slices]
    }

    /// WeightWatcher's word for it.
    pub(super) fn layer_type(&self) -> &'static str {
        match self.view {
            View::Kernel { .. } => "conv2d",
            _ => "dense",
        }
    }
}

/// Why a tensor is not analysed, in a few words.
pub(super) type Skipped = Cow<'static, str>;

impl SpectralStudy {
    /// The parts of every tensor, or why there are none.
    pub(super) fn select(
        &self,
        tensors: &[TensorInfo],
        is_onnx: bool,
    ) -> Vec<Result<Vec<Part>, Skipped>> {
        let is_weight = |tensor: &TensorInfo| tensor.name.ends_with(".weight");
        // Of ONNX every initialiser is a weight to WeightWatcher, and so is every tensor of a file without
        // such names.
        let named = self.mode == Mode::Strict || is_onnx || !tensors.iter().any(is_weight);
        let shapes = tensors.iter().map(|it| (it.name.as_str(), &it.shape[..]));
        let orientation = self.orientation.resolved(shapes);
        let select = |(index, tensor): (usize, &TensorInfo)| {
            if !named && !is_weight(tensor) {
                return Err("compat: the name does not end in `.weight`".into());
            }
            let parts = self.parts(index, tensors, orientation)?;
            self.check_size(&parts[0])?;
            Ok(parts)
        };
        tensors.iter().enumerate().map(select).collect()
    }

    fn check_size(&self, part: &Part) -> Result<(), Skipped> {
        let [larger, smaller, slices] = part.sides();
        let eigenvalues = smaller * slices;
        if eigenvalues < 8 {
            return Err(format!("fewer eigenvalues than 8: {eigenvalues}").into());
        }
        if eigenvalues > self.max_eigenvalues {
            let most = self.max_eigenvalues;
            return Err(format!("more eigenvalues than {most}: {eigenvalues}").into());
        }
        if self.mode == Mode::Compat && larger > 50_000 {
            return Err(format!("compat: a side above 50000: {larger}").into());
        }
        Ok(())
    }

    fn parts(
        &self,
        index: usize,
        all: &[TensorInfo],
        orientation: Orientation,
    ) -> Result<Vec<Part>, Skipped> {
        let tensor = &all[index];
        if let Some(reason) = tensor.dtype.why_not_read() {
            return Err(format!("{}: {reason}", tensor.dtype).into());
        }
        if tensor.elements() == 0 {
            return Err("no elements".into());
        }
        let strict = self.mode == Mode::Strict;
        if self.skip.iter().any(|pattern| name_matches(pattern, &tensor.name)) {
            return Err("listed to be skipped".into());
        }
        if strict && tensor.name.split('.').any(|part| part.starts_with("optimizer")) {
            return Err("state of an optimiser".into());
        }
        let operand = operand_of(&tensor.name, orientation);
        let part = |label: Option<String>, view: View| Part {
            name: match label {
                None => tensor.name.clone(),
                Some(label) => format!("{}[{label}]", tensor.name),
            },
            tensor: index,
            operand,
            view,
        };
        match tensor.shape[..] {
            [rows, cols] => {
                if strict && self.split_qkv && is_qkv(&tensor.name) {
                    return Ok(thirds(rows, cols, operand, part));
                }
                let gates = if strict { gates(tensor, all) } else { 1 };
                let label = |gate: usize| (gates > 1).then(|| gate.to_string());
                let shape = [rows / gates, cols];
                let view = |gate| View::Matrix { start: gate * shape[0] * cols, shape };
                Ok((0..gates).map(|gate| part(label(gate), view(gate))).collect())
            }
            [1, 1, ..]
                if strict && tensor.shape.len() == 4 && !tensor.name.ends_with(".weight") =>
            {
                Err("a mask".into())
            }
            [a, b, c, d] => Ok(match self.kernels {
                Kernels::Flat if strict => {
                    vec![part(None, View::Matrix { start: 0, shape: [a, b * c * d] })]
                }
                Kernels::Slices => {
                    let shape = [a, b, c, d];
                    let (_, places) = Weights::kernel_sides(shape);
                    let view = |place| View::Kernel { shape, place: Some(place) };
                    (0..places).map(|it| part(Some(it.to_string()), view(it))).collect()
                }
                _ => vec![part(None, View::Kernel { shape: [a, b, c, d], place: None })],
            }),
            // A kernel along one axis, or a stack of matrices, such as the experts of a mixture.
            [a, b, c] if strict && tensor.name.contains("conv") => {
                Ok(vec![part(None, View::Kernel { shape: [a, b, 1, c], place: None })])
            }
            [count, rows, cols] if strict => {
                let view = |it| View::Matrix { start: it * rows * cols, shape: [rows, cols] };
                Ok((0..count).map(|it| part(Some(it.to_string()), view(it))).collect())
            }
            [_] => Err("one dimension".into()),
            _ => Err(format!("{} dimensions", tensor.shape.len()).into()),
        }
    }
}

/// Queries, keys and values one after another in one matrix.
fn is_qkv(name: &str) -> bool {
    name.split('.').any(|part| matches!(part, "c_attn" | "qkv" | "qkv_proj" | "in_proj_weight"))
}

/// Queries, keys and values: a third each of the outputs, or the whole if these are not three times the
/// inputs, as where several queries share a key.
fn thirds(
    rows: usize,
    cols: usize,
    operand: Operand,
    part: impl Fn(Option<String>, View) -> Part,
) -> Vec<Part> {
    let [inputs, outputs] = if operand == Operand::Weight { [rows, cols] } else { [cols, rows] };
    if outputs != 3 * inputs {
        return vec![part(None, View::Matrix { start: 0, shape: [rows, cols] })];
    }
    let third = outputs / 3;
    let view = |place: usize| match operand {
        Operand::Weight => View::Columns { from: place * third, width: cols, shape: [rows, third] },
        _ => View::Matrix { start: place * third * cols, shape: [third, cols] },
    };
    let labels = ["q", "k", "v"].into_iter().enumerate();
    labels.map(|(place, label)| part(Some(label.to_owned()), view(place))).collect()
}

/// Gates of a recurrent layer of PyTorch, which stacks their weights: what `weight_hh` `[gates * hidden,
/// hidden]` says of itself and of its `weight_ih`.
fn gates(tensor: &TensorInfo, all: &[TensorInfo]) -> usize {
    let recurrent = tensor.name.replace("weight_ih_l", "weight_hh_l");
    if !recurrent.contains("weight_hh_l") {
        return 1;
    }
    let gates = all.iter().find(|it| it.name == recurrent).and_then(|it| match it.shape[..] {
        [rows, hidden] if hidden > 0 && rows.is_multiple_of(hidden) => Some(rows / hidden),
        _ => None,
    });
    gates.filter(|&gates| gates > 0 && tensor.shape[0].is_multiple_of(gates)).unwrap_or(1)
}
