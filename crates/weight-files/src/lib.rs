#![doc = include_str!("../README.md")]

mod checkpoint;
mod dtype;
mod error;
mod files;
mod npy;
mod npz;
mod onnx;
mod order;
mod pytorch;
mod safetensors_file;
mod strides;
mod tensor;
mod unique_map;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod testing;

pub use checkpoint::Checkpoint;
pub use dtype::Dtype;
pub use error::{Error, FileFault, PickleFault, TensorFault};
pub use tensor::TensorInfo;
