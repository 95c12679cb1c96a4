//! A layer norm with a gain and a bias for each width.
//!
//! # Reference
//! J. Yu et al., *Slimmable Neural Networks*, ICLR 2019, arXiv:1812.08928, for batch norms and widths of
//! layers; Q. Jin et al., *`AdaBits`*, CVPR 2020, arXiv:1912.09666, for widths of codes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::nn::LayerNorm;
use burn::tensor::{Device, Tensor};
use gpt2_model::NormLayer;
use quantizers::BitWidth;

use crate::{CalibrationError, QuantizedNorm};

/// A [`LayerNorm`] that is another at each width.
#[derive(Module, Debug)]
pub struct SwitchableLayerNorm {
    /// At 32 bits; frozen.
    pub full: LayerNorm,
    /// One a width, ascending; copies of the pretrained one at first.
    pub norms: Vec<LayerNorm>,
    #[module(skip)]
    widths: Vec<BitWidth>,
    #[module(skip)]
    name: String,
    /// Index into `norms`, or [`FULL`].
    #[module(skip)]
    active: Arc<AtomicU8>,
}

const FULL: u8 = u8::MAX;

impl SwitchableLayerNorm {
    /// At 32 bits.
    pub(crate) fn new(name: &str, norm: LayerNorm, widths: &[BitWidth]) -> Self {
        Self {
            norms: widths.iter().map(|_| norm.clone().map(&mut Trained)).collect(),
            full: norm.no_grad(),
            widths: widths.to_vec(),
            name: name.to_owned(),
            active: Arc::new(FULL.into()),
        }
    }
}

impl NormLayer for SwitchableLayerNorm {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let active = usize::from(self.active.load(Ordering::Relaxed));
        self.norms.get(active).unwrap_or(&self.full).forward(x)
    }
}

impl QuantizedNorm for SwitchableLayerNorm {
    fn check_width(&self, bits: BitWidth) -> Result<(), CalibrationError> {
        if bits.is_full() || self.widths.contains(&bits) {
            return Ok(());
        }
        let known = self.widths.iter().map(|bits| bits.get()).collect();
        Err(CalibrationError::NoSuchWidth { name: self.name.clone(), bits, known })
    }

    fn select_width(&self, bits: BitWidth) {
        let place = self.widths.iter().position(|&it| it == bits);
        let active = place.and_then(|place| u8::try_from(place).ok()).unwrap_or(FULL);
        self.active.store(active, Ordering::Relaxed);
    }
}

/// Copies as parameters of their own, with gradients.
struct Trained;

impl ModuleMapper for Trained {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (device, shape) = (param.lazy_device(), param.lazy_shape());
        let copy = move |_: &Device, trained| param.val().detach().set_require_grad(trained);
        Param::uninitialized(ParamId::new(), copy, device, true, shape)
    }
}
