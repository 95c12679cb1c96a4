//! Scales that are trained with the weights, one set for each width.
//!
//! # Definition
//! The gradients are those of [`quantizers::Gradients`], times the factor that the method of the grid
//! publishes: $G = 1/\sqrt{N Q_p}$ for integers (LSQ), $1/\sqrt N$ for tables (ParetoQ), with $N$ the
//! weights of the matrix, or the features of an input. PACT trains $\alpha = Q_p s$; a step of gradient
//! descent on $s$ with $G = 1/Q_p^2$ is its step on $\alpha$.
//!
//! With the scale $s$ itself, not its logarithm, the affine grid trains its zero point, and LSQ+ its
//! offset. A scale that an optimiser drives below $2^{-126}$ counts as that.
//!
//! # Reference
//! S. K. Esser et al., *Learned Step Size Quantization*, ICLR 2020, arXiv:1902.08153; Y. Bhalgat et al.,
//! *LSQ+*, 2020, arXiv:2004.09576.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use quantizers::{BitWidth, Codes, Groups, Operand, Params, Quantizer, Shift};

use crate::fake_quantizer::{Unquantized, derived, on_host, without_graph};
use crate::straight_through;

/// The trained scales of one width.
#[derive(Module, Debug)]
pub struct LearnedScales {
    #[module(skip)]
    bits: BitWidth,
    /// What calibration found, for what is not trained.
    #[module(skip)]
    start: Arc<[Params]>,
    /// `[groups]`.
    pub scale: Param<Tensor<1>>,
    /// `[groups]`; of the affine grid.
    pub zero_point: Option<Param<Tensor<1>>>,
    /// `[groups]`; of LSQ+.
    pub offset: Option<Param<Tensor<1>>>,
}

impl LearnedScales {
    pub(crate) fn new(
        bits: BitWidth,
        codes: &Codes,
        start: &Arc<[Params]>,
        device: &Device,
    ) -> Self {
        let param = |value: fn(&Params) -> f32| {
            let values: Vec<f32> = start.iter().map(value).collect();
            let shape = [values.len()];
            Param::from_data(TensorData::new(values, shape), device)
        };
        Self {
            bits,
            scale: param(|it| it.scale),
            zero_point: (codes.shift == Some(Shift::ZeroPoint))
                .then(|| param(|it| it.zero_point as f32)),
            offset: (codes.shift == Some(Shift::Offset)).then(|| param(|it| it.offset)),
            start: start.clone(),
        }
    }

    /// The width.
    pub fn bits(&self) -> BitWidth {
        self.bits
    }

    /// Whether they began as `scales`.
    pub(crate) fn is_of(&self, scales: &Arc<[Params]>) -> bool {
        Arc::ptr_eq(&self.start, scales)
    }

    /// The parameters as they are now, rounded and kept from zero; none if one is not finite.
    pub(crate) fn params(&self, codes: &Codes) -> Option<Vec<Params>> {
        let read = |param: &Param<Tensor<1>>| on_host(&param.val().unsqueeze()).ok();
        let scale = read(&self.scale)?;
        let zero_point = self.zero_point.as_ref().map(read);
        let offset = self.offset.as_ref().map(read);
        let at = |values: &Option<Option<Vec<f32>>>, group: usize, start: f32| match values {
            None => Some(start),
            Some(values) => values.as_ref()?.get(group).copied(),
        };
        let params = self.start.iter().zip(scale).enumerate().map(|(group, (start, scale))| {
            let zero_point = at(&zero_point, group, start.zero_point as f32)?;
            let offset = at(&offset, group, start.offset)?;
            let params = Params::learned(scale, zero_point, codes).ok()?;
            offset.is_finite().then_some(Params { offset, ..params })
        });
        params.collect()
    }

    /// The scales, `[1, groups]`, where nothing is trained, and nothing beside them is.
    pub(crate) fn constant(&self) -> Option<Tensor<2>> {
        let alone = self.zero_point.is_none() && self.offset.is_none();
        let scale = self.scale.val();
        (alone && !scale.is_tracked()).then(|| scale.unsqueeze())
    }

    /// Fake-quantises `x`, `[rows, cols]`.
    pub(crate) fn forward(
        &self,
        quantizer: &Quantizer,
        x: &Tensor<2>,
    ) -> Result<Tensor<2>, Unquantized> {
        let groups = quantizer.groups(x.dims())?;
        let codes = quantizer.grid.as_dyn().codes(self.bits)?;
        let params = self.params(&codes).ok_or(Unquantized::Other)?;
        let values = on_host(x)?;
        if !x.is_tracked() && self.constant().is_some() {
            return without_graph(quantizer, &params, &values, x);
        }
        let [value, mask, scale] = derived(quantizer, &params, &values, x)?;
        let [rows, cols] = x.dims();
        let factor = codes.gradient_factor(match quantizer.operand {
            Operand::Activation => cols,
            _ => rows * cols,
        });
        let over = |param: &Param<Tensor<1>>| spread(param.val(), &groups);
        let outside = -(mask.clone() - 1.0);
        let mut terms = vec![(x.clone(), mask), (over(&self.scale), scale * factor)];
        if let Some(zero_point) = &self.zero_point {
            let scale = over(&self.scale).detach();
            terms.push((over(zero_point), outside.clone() * scale * -factor));
        }
        if let Some(offset) = &self.offset {
            terms.push((over(offset), outside * factor));
        }
        Ok(straight_through(value, &terms))
    }
}

/// One value a group, `[groups]`, in a shape that broadcasts to that of the matrix.
fn spread(values: Tensor<1>, groups: &Groups) -> Tensor<2> {
    let [rows, cols] = groups.shape();
    let [height, width] = groups.block();
    let [down, across] = [rows.div_ceil(height), cols.div_ceil(width)];
    if (down == 1 || height == 1) && (across == 1 || width == 1) {
        return values.reshape([down, across]);
    }
    let blocks = values.reshape([down, 1, across, 1]).expand([down, height, across, width]);
    blocks.reshape([down * height, across * width]).slice([0..rows, 0..cols])
}
