//! A linear layer of two streams.
//!
//! # Definition
//! $y = xB + \alpha\,(xO) + b$ with a dense base $B$ and sparse outliers $O$: the stored layer at
//! $\alpha = 1$, the base alone at $\alpha = 0$, where the sparse product is left out.
//!
//! # Two ways to compute it
//! In the memory of the host, $\alpha\,(xO)$ is added to the base's product where that lies
//! ([`Pattern::add_product`](crate::Pattern::add_product)). On every other device the outliers are added to
//! a copy of the base, $y = x\,(B + \alpha O) + b$, one dense product: with $n$ entries and $t$ tokens,
//! that moves $8\,d_{in} d_{out}$ bytes and $12 n$ more, whatever $t$ is. The other portable way, a gather
//! of $x$ and a segmented sum, writes and reads products of every token and entry, some $20\,t n$ bytes: at
//! a density of .5 % it is the worse one from 81 tokens on, at 5 % from 9. No values pass
//! through the host. Where few tokens at one alpha are computed often, as in generation,
//! [`materialised`](OrthoLinear::materialised) is made once and copies nothing.

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};
use gpt2_model::{Factor, LinearLayer};

use crate::alpha::SharedAlpha;
#[cfg(feature = "flex")]
use crate::host_stream::Operand;
use crate::{Alpha, Pattern, Split};

/// A dense base and a sparse outlier stream in the place of a [`Linear`].
#[derive(Module, Debug)]
pub struct OrthoLinear {
    /// Frozen; its weight is $B$, `[d_in, d_out]`.
    pub base: Linear,
    /// None for a layer that has nothing but its base.
    pub outliers: Option<Outliers>,
    #[module(skip)]
    alpha: SharedAlpha,
}

/// The outliers of a layer.
#[derive(Module, Debug)]
pub struct Outliers {
    /// `[entries]`, by output channel; frozen unless asked for.
    pub values: Param<Tensor<1>>,
    #[module(skip)]
    pattern: Arc<Pattern>,
    #[module(skip)]
    places: Places,
}

impl OrthoLinear {
    /// The streams of `split`, frozen, at alpha 1.
    ///
    /// # Shapes
    /// - bias: `[d_out]`
    pub fn new(split: &Split, bias: Option<Param<Tensor<1>>>, device: &Device) -> Self {
        let base = TensorData::new(split.base().matrix().values().to_vec(), split.shape());
        let weight = Param::from_tensor(Tensor::from_data(base, device));
        let outliers = split.outliers();
        let outliers = (!outliers.values().is_empty()).then(|| Outliers {
            values: Param::from_tensor(Tensor::from_data(outliers.values(), device)).no_grad(),
            pattern: outliers.pattern().clone(),
            places: Places::default(),
        });
        Self { outliers, ..Self::dense(Linear { weight, bias }) }
    }

    /// A layer without outliers, on which alpha has no effect. It is frozen.
    pub fn dense(base: Linear) -> Self {
        Self { base: base.no_grad(), outliers: None, alpha: SharedAlpha::new(Alpha::STORED) }
    }

    /// Makes the outliers' values trainable: gradients on the mask alone.
    #[must_use]
    pub fn train_outliers(mut self) -> Self {
        if let Some(outliers) = &mut self.outliers {
            outliers.values = outliers.values.clone().set_require_grad(true);
        }
        self
    }

    /// How much of the outlier stream is added.
    pub fn alpha(&self) -> Alpha {
        self.alpha.get()
    }

    /// Adds this much of the outlier stream from now on; in all clones of the layer. At 0, trained values
    /// have no gradient.
    pub fn set_alpha(&self, alpha: Alpha) {
        self.alpha.set(alpha);
    }

    /// The base alone, or the stored layer.
    pub fn set_privacy(&self, is_private: bool) {
        self.set_alpha(if is_private { Alpha::BASE } else { Alpha::STORED });
    }

    /// The layer at its alpha as one dense product, frozen: with the weight $B + \alpha O$ of
    /// [`Split::materialise`].
    #[must_use]
    pub fn materialised(&self) -> Linear {
        let weight = match self.active() {
            Some((outliers, alpha)) => Param::from_tensor(self.sum(outliers, alpha).detach()),
            None => self.base.weight.clone(),
        };
        Linear { weight, bias: self.base.bias.clone() }.no_grad()
    }

    /// The outliers and how much of them is added, if they are.
    fn active(&self) -> Option<(&Outliers, Alpha)> {
        let alpha = self.alpha.get();
        self.outliers.as_ref().filter(|_| alpha != Alpha::BASE).map(|it| (it, alpha))
    }

    /// $B + \alpha O$, `[d_in, d_out]`.
    fn sum(&self, outliers: &Outliers, alpha: Alpha) -> Tensor<2> {
        let base = self.base.weight.val();
        let places = outliers.places.on(&base.device(), &outliers.pattern);
        let values = outliers.values.val();
        let values = if alpha == Alpha::STORED { values } else { values * alpha.get() };
        base.scatter_nd(places, values, IndexingUpdateOp::Add)
    }

    /// As a dense product; on any device.
    ///
    /// # Shapes
    /// - x: `[tokens, d_in]`
    /// - output: `[tokens, d_out]`
    fn dense_product(&self, x: Tensor<2>, outliers: &Outliers, alpha: Alpha) -> Tensor<2> {
        linear(x, self.sum(outliers, alpha), self.base.bias.as_ref().map(Param::val))
    }

    /// # Shapes
    /// - x: `[tokens, d_in]`
    /// - output: `[tokens, d_out]`
    fn rows(&self, x: Tensor<2>) -> Tensor<2> {
        let Some((outliers, alpha)) = self.active() else { return Linear::forward(&self.base, x) };
        #[cfg(feature = "flex")]
        if is_on_host(&x) {
            let y = Linear::forward(&self.base, x.clone());
            let operand = Operand { pattern: outliers.pattern.clone(), alpha };
            return operand.add_to(y, x, outliers.values.val());
        }
        self.dense_product(x, outliers, alpha)
    }
}

/// Whether the numbers of a tensor are `f32` in the memory of the host.
#[cfg(feature = "flex")]
fn is_on_host(x: &Tensor<2>) -> bool {
    use burn::backend::DispatchDevice;
    use burn::tensor::DType;
    matches!(x.device().inner().as_dispatch(), DispatchDevice::Flex(_)) && x.dtype() == DType::F32
}

impl LinearLayer for OrthoLinear {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, seq, d_in] = x.dims();
        let [_, d_out] = self.base.weight.dims();
        self.rows(x.reshape([batch * seq, d_in])).reshape([batch, seq, d_out])
    }

    fn factors(&self, x: Tensor<2>) -> Vec<Factor> {
        match self.active() {
            None => self.base.factors(x),
            Some(_) => vec![Factor { input: self.rows(x), weight: None }],
        }
    }
}

/// Input and output of each entry, `[entries, 2]`, on the device that last asked. Clones share it.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<Option<Tensor<2, Int>>>>);

impl Places {
    fn on(&self, device: &Device, pattern: &Pattern) -> Tensor<2, Int> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = places.as_ref().filter(|it| it.device() == *device) {
            return places.clone();
        }
        #[expect(clippy::cast_possible_wrap, reason = "below 2^32")]
        let flat: Vec<i64> = pattern.places().flatten().map(|it| it as i64).collect();
        let data = TensorData::new(flat, [pattern.indices().len(), 2]);
        places.insert(Tensor::from_data(data, &device.clone().inner())).clone()
    }
}

#[cfg(test)]
mod tests;
