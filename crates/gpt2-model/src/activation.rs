//! The nonlinearity of the MLP.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, sigmoid};
use serde::{Deserialize, Serialize};

/// Which Gaussian error linear unit, under the names of Hugging Face's `activation_function`.
///
/// Reference: D. Hendrycks and K. Gimpel, *Gaussian Error Linear Units*, arXiv:1606.08415.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Activation {
    /// $x\,\sigma(2u)$ with $u = \sqrt{2/\pi}\,(x + 0.044715 x^3)$, which is
    /// $\tfrac{x}{2} (1 + \tanh u)$: the approximation of the published GPT-2.
    #[default]
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluNew,
    /// $x\,\Phi(x)$, exact.
    #[serde(rename = "gelu")]
    Gelu,
}

impl Activation {
    /// Elementwise, any shape.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(x),
            Self::GeluNew if x.is_tracked() => {
                // The closed-form derivative costs one pass where the graph of the formula costs
                // nine: y = f'(x0) x + (f(x0) - f'(x0) x0), with everything but the last x constant.
                let x0 = x.clone().inner();
                let (y, slope) = gelu_new_with_slope(x0.clone());
                let intercept = y - x0 * slope.clone();
                x * Tensor::from_inner(slope) + Tensor::from_inner(intercept)
            }
            Self::GeluNew => {
                let gate = gelu_new_gate(x.clone());
                x * gate
            }
        }
    }
}

const SQRT_8_OVER_PI: f64 = 1.595_769_121_605_731;
const CUBIC: f64 = 0.044_715;

/// $\sigma(2u)$.
fn gelu_new_gate<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let square = x.clone() * x.clone();
    sigmoid(x * (square * (SQRT_8_OVER_PI * CUBIC) + SQRT_8_OVER_PI))
}

/// $f(x)$ and $f'(x) = \sigma + x \sigma (1 - \sigma) \cdot 2u'$.
fn gelu_new_with_slope<const D: usize>(x: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
    let square = x.clone() * x.clone();
    let inner = square * (SQRT_8_OVER_PI * CUBIC) + SQRT_8_OVER_PI; // 2u / x
    let gate = sigmoid(x.clone() * inner.clone());
    let y = x * gate.clone();
    let du = inner * 3.0 - 2.0 * SQRT_8_OVER_PI; // 2u'
    let slope = gate.clone() + (y.clone() - y.clone() * gate) * du;
    (y, slope)
}
