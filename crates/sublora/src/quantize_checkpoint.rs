//! A checkpoint with its matrices fake-quantised, and what that did to them.
//!
//! The weights of a file, or of a folder of Hugging Face, come out with the names, shapes and element
//! types they had, as the values that their codes stand for, cast back to that type; a value beyond its
//! end becomes its end. What is written is safetensors: a file for each that is read, so that whatever
//! opens the one opens the other, or one in place of those of another format.
//!
//! The pass holds one tensor at a time, in a few copies. Tensors that are left alone are copied byte
//! for byte, NaN included, and so is the header of a safetensors file.

mod error;
mod files;
mod output;
mod plan;
mod report;
mod values;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use quantizers::{
    AnyGrid, AnyRange, BitWidth, Granularity, Half, Mse, Operand, Quantizer, Symmetric,
};
use serde::{Deserialize, Serialize};
use weight_files::{Checkpoint, TensorInfo};

pub use error::QuantizeError;
pub use plan::{Orientation, Reason};
pub(crate) use plan::{granularity_for, is_listed, matrix, operand_of};
pub use report::{QuantizedCheckpoint, QuantizedTensor, UntouchedTensor};

use crate::{Error, FileError, Progress};
use files::Files;
use output::Output;
use plan::Plan;
use report::{Errors, Tally};
use values::FloatType;

/// How to quantise a checkpoint. The default is symmetric, 4 bits, groups of 64, least squared
/// error, embeddings and heads left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeCheckpoint {
    /// Bits of a code, at most 16.
    pub bits: BitWidth,
    /// Which values share a scale, with the axes of a weight `[d_in, d_out]`; in a weight that is
    /// stored the other way round, `channel:1` is still one scale an output.
    pub granularity: Granularity,
    /// Which values codes can stand for.
    pub grid: AnyGrid,
    /// Which part of the values the codes should reach.
    pub range: AnyRange,
    /// A type in which scales and values are held; none for `f32`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulate: Option<Half>,
    /// Which way round weights are stored.
    pub orientation: Orientation,
    /// Whether embeddings and output heads are quantised too, a row `[d_model]` at a time.
    pub quantize_embeddings: bool,
    /// Names of tensors to leave alone, `*` for any text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
}

impl Default for QuantizeCheckpoint {
    fn default() -> Self {
        let size = const { std::num::NonZeroUsize::new(64).unwrap() };
        Self {
            bits: BitWidth::new(4).unwrap_or(BitWidth::FULL),
            granularity: Granularity::Group { size, pad: false },
            grid: Symmetric {}.into(),
            range: Mse::default().into(),
            emulate: None,
            orientation: Orientation::Auto,
            quantize_embeddings: false,
            skip: Vec::new(),
        }
    }
}

impl QuantizeCheckpoint {
    /// These settings with some overridden, each `table.key=value` with a TOML value: for example
    /// `range.exponent=2.4`.
    ///
    /// # Errors
    /// The offending key, with the keys or values that are known.
    pub fn overridden(self, overrides: &[String]) -> Result<Self, Error> {
        crate::config::overridden(self, overrides)
    }

    /// Writes `checkpoint`, a file with weights, the index of several or a folder with either, as the new
    /// folder `out`, and with it the other files of the folder; weights in further formats, which would
    /// not be quantised, stay behind. The folder appears whole or not at all.
    ///
    /// # Errors
    /// The first thing wrong with the settings, the checkpoint or one of its tensors, an `out` that
    /// exists, what the file system says, or that `progress` asked for an end.
    pub fn run(
        &self,
        checkpoint: &Path,
        out: &Path,
        progress: &dyn Progress,
    ) -> Result<QuantizedCheckpoint, QuantizeError> {
        if out.exists() {
            return Err(QuantizeError::OutExists(out.to_owned()));
        }
        self.grid.as_dyn().codes(self.bits)?;
        self.granularity.groups(Operand::Weight, [0, 0])?; // all that does not hang on the shape
        let mut weights = Checkpoint::open(checkpoint)?;
        let files = Files::beside(&weights, checkpoint)?;
        let outputs = Output::all(&weights)?;
        let plans = self.plans(&weights)?;

        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(FileError::at("create", parent))?;
        let staged = tempfile::Builder::new().prefix(".quantized-").tempdir_in(parent);
        let staged = staged.map_err(FileError::at("write to", parent))?;
        // A temporary folder is for its owner alone; one inside it has the permissions of any other.
        let made = staged.path().join("checkpoint");
        fs::create_dir(&made).map_err(FileError::at("create", &made))?;

        progress.begin("quantize", "tensors", plans.len() as u64);
        let mut tally = Tally::default();
        for output in &outputs {
            let path = made.join(&output.name);
            self.write(output, &mut weights, &plans, &path, &mut tally, progress)?;
        }
        progress.end();
        for path in &files.others {
            let copy = made.join(path.file_name().unwrap_or_default());
            fs::copy(path, copy).map_err(FileError::at("copy", path))?;
        }
        fs::rename(&made, out).map_err(FileError::at("write", out))?;
        Ok(tally.finish(files.left_out))
    }

    /// What becomes of each tensor, with the groups of all known to come out even.
    fn plans(&self, weights: &Checkpoint) -> Result<Vec<Plan>, QuantizeError> {
        let shapes = weights.tensors().iter().map(|it| (it.name.as_str(), &it.shape[..]));
        let orientation = self.orientation.resolved(shapes);
        let how = Self { orientation, ..self.clone() };
        let mut plans = Vec::new();
        for tensor in weights.tensors() {
            let plan = how.plan(tensor);
            if let Plan::Quantize { operand, shape, .. } = plan {
                let fit = self.quantizer(operand).groups(shape);
                fit.map_err(QuantizeError::tensor(&tensor.name))?;
            }
            plans.push(plan);
        }
        Ok(plans)
    }

    fn write(
        &self,
        output: &Output,
        weights: &mut Checkpoint,
        plans: &[Plan],
        path: &Path,
        tally: &mut Tally,
        progress: &dyn Progress,
    ) -> Result<(), QuantizeError> {
        let at = || FileError::at("write", path);
        let out = File::create_new(path).map_err(at())?;
        let mut writer = BufWriter::with_capacity(1 << 20, &out);
        writer.write_all(&output.header).map_err(at())?;
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for &index in &output.tensors {
            if progress.update(tally.len(), &weights.tensors()[index].name).is_break() {
                return Err(QuantizeError::Interrupted);
            }
            match plans[index] {
                Plan::Leave(reason) => {
                    weights.read_bytes(index, &mut bytes)?;
                    tally.leave(&weights.tensors()[index], bytes.len(), reason);
                }
                Plan::Quantize { float, operand, shape } => {
                    weights.read(index, &mut values)?;
                    let tensor = &weights.tensors()[index];
                    let quantized = self.quantize(float, operand, shape, &values, tensor);
                    let report;
                    (bytes, report) = quantized.map_err(QuantizeError::tensor(&tensor.name))?;
                    tally.quantize(report);
                }
            }
            writer.write_all(&bytes).map_err(at())?;
        }
        writer.flush().map_err(at())?;
        out.sync_all().map_err(at())?;
        Ok(())
    }

    /// The bytes of a matrix `[rows, cols]` once quantised, and what that did to it.
    fn quantize(
        &self,
        float: FloatType,
        operand: Operand,
        shape: [usize; 2],
        values: &[f32],
        tensor: &TensorInfo,
    ) -> Result<(Vec<u8>, (QuantizedTensor, Errors)), quantizers::QuantizerError> {
        let quantizer = self.quantizer(operand);
        let params = quantizer.fit(values, shape)?;
        let mut quantized = vec![0.0; values.len()];
        quantizer.fake_quantize_into(values, shape, &params, &mut quantized)?;
        let codes = quantizer.distortion(values, shape, &params)?;
        let bytes = float.encode(&mut quantized);
        let errors = Errors::between(values, &quantized);
        let report = QuantizedTensor {
            name: tensor.name.clone(),
            dtype: tensor.dtype.to_string(),
            shape,
            operand,
            distortion: errors.distortion(codes.levels, codes.clipped, codes.bits_per_value),
        };
        Ok((bytes, (report, errors)))
    }

    /// The quantiser of weights that lie one way round.
    fn quantizer(&self, operand: Operand) -> Quantizer {
        let granularity = granularity_for(self.granularity, operand);
        let (grid, range) = (self.grid.clone(), self.range.clone());
        Quantizer { bits: self.bits, granularity, operand, grid, range, emulate: self.emulate }
    }
}

#[cfg(test)]
mod tests;
