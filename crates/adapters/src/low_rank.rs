//! A pair of trained factors beside a matrix, each seen through a quantiser if one is asked for.
//!
//! # Definition
//! $\Delta W = s\,Q_A(A)^\top Q_B(B)^\top$ with $A$ `[rank, d_input]`, $B$ `[d_output, rank]` and
//! $s = \alpha / r$. $B$ starts at zero, so that nothing is added yet. The factors are weights with an
//! output channel a row: a scale a channel is one a row of $A$, and one a row of $B$. Their scales come
//! from the values at hand, as both are trained and $B$ has no range when training begins.

#![expect(non_snake_case, reason = "`lora_A` and `lora_B` are the names in every checkpoint")]

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use counter_rng::Key;
use gpt2_model::Factor;
use quantizers::BitWidth;
use serde::{Deserialize, Serialize};

use crate::{ByWidth, CalibrationError, FakeQuantizer, LayerGradient, LoraError, Role, Scales};

/// Size and strength of a pair of factors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    /// Inner dimension $r$, at least 1.
    pub rank: usize,
    /// Numerator of the scale $s = \alpha / r$.
    pub alpha: f64,
}

impl Rank {
    /// What can be said without a model.
    ///
    /// # Errors
    /// The field that makes no sense.
    pub fn validate(&self) -> Result<(), LoraError> {
        let largest = f64::from(f32::MAX);
        match self {
            Self { rank: 0, .. } => Err(LoraError::Rank),
            Self { alpha, .. } if !(-largest..=largest).contains(alpha) => {
                Err(LoraError::Alpha(*alpha))
            }
            _ => Ok(()),
        }
    }
}

/// The factors of one matrix.
#[derive(Module, Debug)]
pub struct LowRank {
    /// `[rank, d_input]`.
    pub lora_A: Param<Tensor<2>>,
    /// `[d_output, rank]`.
    pub lora_B: Param<Tensor<2>>,
    /// Of $A$ and of $B$, or none.
    quantizers: Vec<FakeQuantizer>,
    /// Of the gradients of $A$ and of $B$, or none.
    pub(crate) gradients: Vec<LayerGradient>,
    /// $s$.
    #[module(skip)]
    pub scale: f64,
}

impl LowRank {
    /// For a matrix `[d_input, d_output]`: $A$ uniform on $\pm 1/\sqrt{d_{input}}$ with bits that depend
    /// on `key` only, $B$ zero. Nothing is allocated before a value is read.
    pub(crate) fn new(
        name: &str,
        [d_input, d_output]: [usize; 2],
        Rank { rank, alpha }: Rank,
        factors: Option<&ByWidth>,
        key: Key,
        device: &Device,
    ) -> Result<Self, CalibrationError> {
        let param = |shape: [usize; 2], values: fn(Key, [usize; 2]) -> Vec<f32>| {
            let init = move |device: &Device, trained| {
                let values = TensorData::new(values(key, shape), shape);
                Tensor::from_data(values, device).set_require_grad(trained)
            };
            Param::uninitialized(ParamId::new(), init, device.clone(), true, shape.into())
        };
        let quantizer = |part: &str, shape, how| {
            FakeQuantizer::new(&format!("{name}.{part}"), how, Role::Weight(shape), Scales::Dynamic)
        };
        let quantizers = match factors {
            None => Vec::new(),
            Some(how) => vec![
                quantizer("lora_A", [d_input, rank], how)?,
                quantizer("lora_B", [rank, d_output], how)?,
            ],
        };
        Ok(Self {
            lora_A: param([rank, d_input], uniform),
            lora_B: param([d_output, rank], |_, [rows, cols]| vec![0.0; rows * cols]),
            quantizers,
            gradients: Vec::new(),
            scale: alpha / rank as f64,
        })
    }

    pub(crate) fn check_width(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        self.quantizers.iter().try_for_each(|it| it.check_bits(bits))
    }

    /// Takes the factors to a width that was checked.
    pub(crate) fn select_width(&self, bits: BitWidth) {
        let set = self.quantizers.iter().try_for_each(|it| it.set_bits(bits));
        debug_assert_eq!(set, Ok(()), "checked before");
    }

    /// $Q_A(A)^\top$, `[d_input, rank]`, and $Q_B(B)^\top$, `[rank, d_output]`.
    fn factors(&self) -> [Tensor<2>; 2] {
        let [mut a, mut b] = [&self.lora_A, &self.lora_B].map(|it| it.val().transpose());
        if let [of_a, of_b] = self.gradients.as_slice() {
            (a, b) = (of_a.forward(a), of_b.forward(b));
        }
        if let [of_a, of_b] = self.quantizers.as_slice() {
            (a, b) = (of_a.forward(a), of_b.forward(b));
        }
        [a, b]
    }

    /// $x\,\Delta W$ as a product of `[tokens, rank]` and `[rank, d_output]`.
    ///
    /// # Shapes
    /// - x: `[tokens, d_input]`
    pub(crate) fn factor(&self, x: Tensor<2>) -> Factor {
        let [a, b] = self.factors();
        Factor { input: x.matmul(a) * self.scale, weight: Some(b) }
    }

    /// $x\,\Delta W$.
    ///
    /// # Shapes
    /// - x: `[tokens, d_input]`
    /// - output: `[tokens, d_output]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [a, b] = self.factors();
        (x.matmul(a) * self.scale).matmul(b)
    }

    /// $\Delta W$, `[d_input, d_output]`.
    pub(crate) fn product(&self) -> Tensor<2> {
        let [a, b] = self.factors();
        (a * self.scale).matmul(b)
    }
}

/// $A$, `[rank, d_input]`: uniform on $\pm 1/\sqrt{d_{input}}$.
#[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
pub(crate) fn uniform(key: Key, [rank, d_input]: [usize; 2]) -> Vec<f32> {
    let bound = (d_input as f64).powf(-0.5);
    let mut uniform = vec![0.0; rank * d_input];
    key.fill_uniform(0, &mut uniform);
    uniform.iter().map(|u| ((2.0 * u - 1.0) * bound) as f32).collect()
}
