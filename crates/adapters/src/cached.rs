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
    scales: Option<Scales>,
    quantized: Tensor<2>,
}

impl Entry {
    fn is_of(&self, weight: &Tensor<2>, bits: BitWidth, scales: Option<&Scales>) -> bool {
        let same_scales = match (&self.scales, scales) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        self.bits == bits && same_scales && is_same(&self.weight, weight)
    }
}

impl Cached {
    /// What was made before of the same weight, width and scales, or what `make` makes.
    pub(crate) fn get_or_make<E>(
        &self,
        weight: &Tensor<2>,
        bits: BitWidth,
        scales: Option<&Scales>,
        make: impl FnOnce() -> Result<Tensor<2>, E>,
    ) -> Result<Tensor<2>, E> {
        let mut entry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entry.as_ref().filter(|it| it.is_of(weight, bits, scales)) {
            return Ok(entry.quantized.clone());
        }
        *entry = None; // before another is made: never two of them in memory
        let quantized = make()?;
        let (weight, scales) = (weight.clone(), scales.cloned());
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
        let made = |w: &Tensor<2>, bits: BitWidth, scales: Option<&Scales>| {
            let mut made = false;
            let get = cached.clone().get_or_make(w, bits, scales, || {
                made = true;
                Ok::<_, ()>(w.clone() * f32::from(bits.get()))
            });
            assert_eq!(get.unwrap().into_data(), (w.clone() * f32::from(bits.get())).into_data());
            made
        };
        assert!(made(&w, four, None));
        assert!(!made(&w.clone(), four, None));
        assert!(made(&w, eight, None) && made(&w, four, None), "one width at a time");
        let scales: Scales = Arc::new([]);
        assert!(made(&w, four, Some(&scales)) && !made(&w, four, Some(&scales.clone())));
        let others: Scales = Arc::new([]);
        assert!(made(&w, four, Some(&others)), "another calibration");
        let loaded = Tensor::<2>::from_data([[5.0, 2.0]], &device);
        assert!(made(&loaded, four, None), "another weight");
        drop(loaded);
        let next = Tensor::<2>::from_data([[6.0, 2.0]], &device);
        assert!(made(&next, four, None), "one that may have come to lie at the same address");
    }
}
