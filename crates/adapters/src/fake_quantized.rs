//! A linear layer whose weight and input are fake-quantised.
//!
//! # Definition
//! $y = Q_x(x)\,Q_W(W) + b$, each quantiser at a width of its own; on its way back, $\partial L/\partial y$
//! passes a quantiser of gradients. At 32 bits all are the identity and the layer is the plain one, bit
//! for bit.

use burn::module::{Module, Param, ParamId};
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};
use gpt2_model::{Factor, Gpt2, LinearLayer, PlainGpt2, assign};
use quantizers::{BitWidth, Granularity, Operand, Quantizer};
use serde::{Deserialize, Serialize};

use crate::fake_quantizer::on_host;
use crate::{
    ByWidth, CalibrationError, FakeQuantizer, GradientRounding, LayerGradient, Quantization,
    QuantizedLayer, Role, Scales,
};

/// A [`Linear`] seen through two quantisers.
#[derive(Module, Debug)]
pub struct FakeQuantizedLinear {
    /// Its weight is `[d_input, d_output]`.
    pub base: Linear,
    /// Of the weight.
    pub weight: FakeQuantizer,
    /// Of the input.
    pub input: FakeQuantizer,
    /// Of the gradient of the output.
    pub gradient: LayerGradient,
}

/// GPT-2 with fake-quantised linear layers.
pub type FakeQuantizedGpt2 = Gpt2<FakeQuantizedLinear, LayerNorm>;

/// What is quantised and how. Norms and biases stay as they are.
///
/// ```toml
/// head = true
///
/// [weight]
/// granularity = "group:64"
/// range = { kind = "mse" }
///
/// [input]
/// granularity = "token"
///
/// [embeddings]
/// bits = 8
/// granularity = "channel:0"
///
/// [gradient]
/// rounding = "stochastic"
/// seed = 7
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FakeQuantConfig {
    /// Of every weight, `[d_input, d_output]`.
    pub weight: ByWidth,
    /// Where the scales of weights come from.
    pub weight_scales: Scales,
    /// Of every input, `[tokens, d_input]`.
    pub input: ByWidth,
    /// Whether the vocabulary head is quantised: a copy of the token embedding that is then no longer
    /// tied to it.
    pub head: bool,
    /// Of the token and the position embedding, `[vocab or n_positions, d_model]`, once and for good at
    /// the width it has: a look-up reads what a code stands for. 32 bits leave them, and with them the
    /// tied head, as they are. Its operand is not used.
    pub embeddings: Quantizer,
    /// How the gradient of each layer's output is rounded below 32 bits.
    pub gradient: GradientRounding,
}

/// Symmetric, min-max: a scale an output channel, one a token, and one a row of the embeddings, which
/// are not quantised; gradients by stochastic rounding.
impl Default for FakeQuantConfig {
    fn default() -> Self {
        let embeddings = Quantizer {
            bits: BitWidth::FULL,
            granularity: Granularity::Channel { axis: 0 },
            operand: Operand::TransposedWeight,
            ..Quantizer::default()
        };
        Self {
            weight: ByWidth::default(),
            weight_scales: Scales::default(),
            input: Quantization { granularity: Granularity::Token, ..Quantization::default() }
                .into(),
            head: false,
            embeddings,
            gradient: GradientRounding::default(),
        }
    }
}

impl FakeQuantConfig {
    /// Puts quantisers, at 32 bits, into every linear layer of `model`, and quantises its embeddings.
    ///
    /// # Errors
    /// [`CalibrationError::Quantizer`] for a granularity that does not suit a tensor, named, or if the
    /// embeddings cannot be quantised.
    pub fn apply(&self, model: PlainGpt2) -> Result<FakeQuantizedGpt2, CalibrationError> {
        let model = self.with_head(model);
        let mut model =
            model.map_layers(|name, base| self.layer(name, base), |_, norm: LayerNorm| Ok(norm))?;
        (model.wte, model.wpe) = self.embeddings(model.wte, model.wpe)?;
        Ok(model)
    }

    /// `model`, with its tied head as a layer of its own if that is quantised.
    pub(crate) fn with_head(&self, mut model: PlainGpt2) -> PlainGpt2 {
        model.lm_head = self.head.then(|| untied_head(&model));
        model
    }

    /// Token and position embedding, quantised if this says so.
    pub(crate) fn embeddings(
        &self,
        wte: Embedding,
        wpe: Embedding,
    ) -> Result<(Embedding, Embedding), CalibrationError> {
        Ok((self.embedding("wte", wte)?, self.embedding("wpe", wpe)?))
    }

    /// `base` seen through quantisers.
    pub(crate) fn layer(
        &self,
        name: &str,
        base: Linear,
    ) -> Result<FakeQuantizedLinear, CalibrationError> {
        let part = |part: &str| format!("{name}.{part}");
        let [d_input, d_output] = base.weight.lazy_shape().dims();
        let weight = Role::Weight([d_input, d_output]);
        Ok(FakeQuantizedLinear {
            base,
            weight: FakeQuantizer::new(&part("weight"), &self.weight, weight, self.weight_scales)?,
            input: FakeQuantizer::new(
                &part("input"),
                &self.input,
                Role::Input(d_input),
                Scales::Calibrated,
            )?,
            gradient: LayerGradient::new(&part("gradient"), self.gradient.clone()),
        })
    }

    fn embedding(&self, name: &str, base: Embedding) -> Result<Embedding, CalibrationError> {
        let quantizer = Quantizer { operand: Operand::TransposedWeight, ..self.embeddings.clone() };
        if quantizer.bits.is_full() {
            return Ok(base);
        }
        let name = || name.to_owned();
        let failed = |source| CalibrationError::Quantizer { name: name(), source };
        let shape = base.weight.dims();
        let values = on_host(&base.weight.val())
            .map_err(|source| CalibrationError::Device { name: name(), source })?;
        let params = quantizer.fit(&values, shape).map_err(failed)?;
        let mut out = vec![0.0; values.len()];
        quantizer.fake_quantize_into(&values, shape, &params, &mut out).map_err(failed)?;
        Ok(assign(base, |_, _| Some(std::mem::take(&mut out))))
    }
}

/// The tied head of `model` as a layer of its own; its weight shares the memory of the embedding until
/// one of them is trained.
fn untied_head(model: &PlainGpt2) -> Linear {
    let tied = model.wte.weight.clone();
    let [vocab, d_model] = tied.lazy_shape().dims();
    let device = tied.lazy_device();
    let weight = Param::uninitialized(
        ParamId::new(),
        move |_: &Device, trained| tied.val().transpose().detach().set_require_grad(trained),
        device,
        true,
        [d_model, vocab].into(),
    );
    Linear { weight, bias: None }
}

impl FakeQuantizedLinear {
    /// $x W + b$ on rows `[tokens, d_input]`, nothing of which is quantised any more.
    pub(crate) fn product(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        let y = x.matmul(weight);
        match &self.base.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }

    fn rows(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.forward(self.base.weight.val());
        self.gradient.forward(self.product(self.input.forward(x), weight))
    }

    /// Whether it is at 32 bits and nobody watches.
    pub(crate) fn is_plain(&self) -> bool {
        let quantizers = [&self.weight, &self.input];
        quantizers.iter().all(|it| it.bits().is_full() && !it.is_calibrating())
            && self.gradient.is_idle()
    }

    /// The width of the weight, unless values are left as they are.
    pub(crate) fn active(&self) -> Option<BitWidth> {
        let bits = self.weight.bits();
        (!bits.is_full() && !self.weight.is_calibrating()).then_some(bits)
    }
}

/// `f` on the rows `[tokens, d_input]` of `x`, `[batch, seq, d_input]`.
pub(crate) fn by_rows(x: Tensor<3>, f: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    let [batch, seq, d_input] = x.dims();
    let y = f(x.reshape([batch * seq, d_input]));
    let [_, d_output] = y.dims();
    y.reshape([batch, seq, d_output])
}

impl LinearLayer for FakeQuantizedLinear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        if self.is_plain() {
            return LinearLayer::forward(&self.base, x);
        }
        by_rows(x, |x| self.rows(x))
    }

    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        if self.is_plain() {
            return self.base.factors(x);
        }
        if self.base.bias.is_some() || !self.gradient.is_idle() {
            return vec![Factor { input: self.rows(x), weight: None }];
        }
        let weight = self.weight.forward(self.base.weight.val());
        vec![Factor { input: self.input.forward(x), weight: Some(weight) }]
    }
}

impl QuantizedLayer for FakeQuantizedLinear {
    fn quantized(&self) -> &Self {
        self
    }

    fn quantized_mut(&mut self) -> &mut Self {
        self
    }
}
