//! The quantised form of a weight that does not change, kept from one pass to the next.
//!
//! A weight is the same if it lies in the same memory: what is kept holds on to the memory it was made
//! of, so that no other weight can come to lie there, and any new value lies elsewhere.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::Tensor;
use quantizers::BitWidth;

use crate::calibration::Scales;

/// What was made of one weight at one width. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Cached(Arc<Mutex<Option<Entry>>>);

struct Entry {
    weight: Tensor<2>,
    bits: BitWidth,
    scales: ScalesAtHand,
    quantized: Tensor<2>,
}

/// Scales that a weight was quantised with.
#[derive(Clone)]
pub(crate) enum ScalesAtHand {
    /// Those of its own values.
    Dynamic,
    /// Found by calibration.
    Calibrated(Scales),
    /// Trained, `[1, groups]`.
    Learned(Box<Tensor<2>>),
}

impl ScalesAtHand {
    fn are(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dynamic, Self::Dynamic) => true,
            (Self::Calibrated(a), Self::Calibrated(b)) => Arc::ptr_eq(a, b),
            (Self::Learned(a), Self::Learned(b)) => is_same(a, b),
            _ => false,
        }
    }
}

impl Entry {
    fn is_of(&self, weight: &Tensor<2>, bits: BitWidth, scales: &ScalesAtHand) -> bool {
        self.bits == bits && self.scales.are(scales) && is_same(&self.weight, weight)
    }
}

impl Cached {
    /// What was made before of the same weight, width and scales, or what `make` makes.
    pub(crate) fn get_or_make<E>(
        &self,
        weight: &Tensor<2>,
        bits: BitWidth,
        scales: ScalesAtHand,
        make: impl FnOnce() -> Result<Tensor<2>, E>,
    ) -> Result<Tensor<2>, E> {
        let mut entry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entry.as_ref().filter(|it| it.is_of(weight, bits, &scales)) {
            return Ok(entry.quantized.clone());
        }
        *entry = None; // before another is made: never two of them in memory
        let quantized = make()?;
        let weight = weight.clone();
        *entry = Some(Entry { weight, bits, scales, quantized: quantized.clone() });
        Ok(quantized)
    }
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cached")
    }
}

/// Whether both are the same view of the same memory, on the same device.
fn is_same(a: &Tensor<2>, b: &Tensor<2>) -> bool {
    if a.device() != b.device() {
        return false;
    }
    let kind = |tensor: &Tensor<2>| tensor.clone().inner().into_dispatch().kind;
    match (kind(a), kind(b)) {
        #[cfg(feature = "flex")]
        (
            DispatchTensorKind::Flex(BackendTensor::Float(a)),
            DispatchTensorKind::Flex(BackendTensor::Float(b)),
        ) => Arc::ptr_eq(&a.data_arc(), &b.data_arc()) && a.layout() == b.layout(),
        #[cfg(any(
            feature = "wgpu",
            feature = "vulkan",
            feature = "metal",
            feature = "cuda",
            feature = "rocm"
        ))]
        (
            DispatchTensorKind::Cube(BackendTensor::Float(a)),
            DispatchTensorKind::Cube(BackendTensor::Float(b)),
        ) => {
            let (x, y) = (&a.handle, &b.handle);
            std::ptr::eq(x.memory.descriptor(), y.memory.descriptor())
                && (x.offset_start, x.offset_end) == (y.offset_start, y.offset_end)
                && (a.meta.shape(), a.meta.strides()) == (b.meta.shape(), b.meta.strides())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::ScalesAtHand::{Calibrated, Dynamic, Learned};
    use super::*;

    #[test]
    fn only_the_same_memory_is_the_same() {
        let device = Device::default();
        let a = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
        assert!(is_same(&a, &a.clone()));
        assert!(!is_same(&a, &Tensor::from_data([[1.0, 2.0], [3.0, 4.0]], &device)), "a copy");
        assert!(!is_same(&a, &a.clone().transpose()), "another view");
        assert!(!is_same(&a, &(a.clone() + 1.0)));
    }

    #[test]
    fn what_was_made_is_made_again_for_anything_else_only() {
        let device = Device::default();
        let cached = Cached::default();
        let w = Tensor::<2>::from_data([[1.0, 2.0]], &device);
        let [four, eight] = [4, 8].map(|bits| BitWidth::new(bits).unwrap());
        let made = |w: &Tensor<2>, bits: BitWidth, scales: ScalesAtHand| {
            let mut made = false;
            let get = cached.clone().get_or_make(w, bits, scales, || {
                made = true;
                Ok::<_, ()>(w.clone() * f32::from(bits.get()))
            });
            assert_eq!(get.unwrap().into_data(), (w.clone() * f32::from(bits.get())).into_data());
            made
        };
        assert!(made(&w, four, Dynamic));
        assert!(!made(&w.clone(), four, Dynamic));
        assert!(made(&w, eight, Dynamic) && made(&w, four, Dynamic), "one width at a time");
        let [scales, others]: [Scales; 2] = [Arc::new([]), Arc::new([])];
        let calibrated = |scales: &Scales| Calibrated(scales.clone());
        assert!(made(&w, four, calibrated(&scales)) && !made(&w, four, calibrated(&scales)));
        assert!(made(&w, four, calibrated(&others)), "another calibration");
        let trained = Tensor::<2>::from_data([[0.5]], &device);
        let learned = |scales: &Tensor<2>| Learned(Box::new(scales.clone()));
        assert!(made(&w, four, learned(&trained)) && !made(&w, four, learned(&trained)));
        assert!(made(&w, four, learned(&(trained + 0.0))), "another step");
        let loaded = Tensor::<2>::from_data([[5.0, 2.0]], &device);
        assert!(made(&loaded, four, Dynamic), "another weight");
        drop(loaded);
        let next = Tensor::<2>::from_data([[6.0, 2.0]], &device);
        assert!(made(&next, four, Dynamic), "one that may have come to lie at the same address");
    }
}
