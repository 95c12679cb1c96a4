//! A model's weights by name: list, read, assign.
//!
//! Names are those of a Hugging Face checkpoint; burn's `gamma` and `beta` of a norm layer are its
//! `weight` and `bias`. Weights come in the order of the model, which is the order of the blocks.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use thiserror::Error;

/// One weight of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Path in the model, for example `h.0.attn.c_attn.weight`.
    pub name: String,
    /// Extent of each axis.
    pub shape: Vec<usize>,
}

impl Parameter {
    /// Numbers in it.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&extent| extent as u64).product()
    }
}

/// Every weight of `module`, without touching values.
pub fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut list = List { path: WeightPath::default(), found: Vec::new() };
    module.visit(&mut list);
    list.found
}

/// The values of the weights that `select` names, row-major, in the order of the model.
///
/// # Errors
/// What the device reports when a weight is read.
pub fn read<M: Module>(
    module: &M,
    select: impl FnMut(&str) -> bool,
) -> Result<Vec<(String, TensorData)>, DeviceError> {
    let mut reader = Read { path: WeightPath::default(), select, found: Vec::new() };
    module.visit(&mut reader);
    reader.found.into_iter().map(|(name, data)| Ok((name, data?))).collect()
}

/// A device that failed while computing, reported when a result was read: out of memory, a buffer
/// above the device's limit, a lost device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the device failed: {0}")]
pub struct DeviceError(pub String);

/// Brings a tensor to the host.
///
/// # Errors
/// What the device reports.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Result<TensorData, DeviceError> {
    tensor.try_into_data().map_err(|error| DeviceError(error.to_string()))
}

/// Replaces the weights for which `values` returns some; they stay trainable or frozen as they were.
///
/// # Panics
/// If `values` returns another number of elements than the shape holds.
pub fn assign<M: Module>(module: M, values: impl FnMut(&str, &[usize]) -> Option<Vec<f32>>) -> M {
    module.map(&mut Assign { path: WeightPath::default(), values })
}

/// Where a visit of a model is: the name of the weight at hand, as in a checkpoint.
#[derive(Debug, Default)]
pub struct WeightPath(Vec<String>);

impl WeightPath {
    /// Goes into a field; to be called from `enter_module`.
    pub fn enter(&mut self, name: &str) {
        self.0.push(match name {
            "gamma" => "weight".to_owned(),
            "beta" => "bias".to_owned(),
            other => other.to_owned(),
        });
    }

    /// Comes out of it; to be called from `exit_module`.
    pub fn exit(&mut self) {
        self.0.pop();
    }

    /// For example `h.0.ln_1.weight`.
    pub fn name(&self) -> String {
        self.0.join(".")
    }
}

struct List {
    path: WeightPath,
    found: Vec<Parameter>,
}

impl ModuleVisitor for List {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(Parameter {
            name: self.path.name(),
            shape: param.lazy_shape().as_slice().to_vec(),
        });
    }
}

struct Read<F> {
    path: WeightPath,
    select: F,
    found: Vec<(String, Result<TensorData, DeviceError>)>,
}

impl<F: FnMut(&str) -> bool> ModuleVisitor for Read<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        if (self.select)(&name) {
            self.found.push((name, host(param.val())));
        }
    }
}

struct Assign<F> {
    path: WeightPath,
    values: F,
}

impl<F: FnMut(&str, &[usize]) -> Option<Vec<f32>>> ModuleMapper for Assign<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let Some(values) = (self.values)(&self.path.name(), shape.as_slice()) else { return param };
        let value = Tensor::from_data(TensorData::new(values, shape), &param.lazy_device());
        let id = param.id;
        param.transform_for_load(value, id)
    }
}
