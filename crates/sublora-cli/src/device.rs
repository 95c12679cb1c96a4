//! `--device`: from a name to a device that is compiled in and there.

use burn::tensor::Device;

use crate::failure::Failure;

const NAMES: [&str; 6] = ["flex", "wgpu", "vulkan", "metal", "cuda", "rocm"];

const FLEX: &str = "`--device flex` runs on the CPU";

/// The CPU, unless it was left out.
pub(crate) const DEFAULT: &str = if cfg!(feature = "flex") {
    "flex"
} else if cfg!(feature = "cuda") {
    "cuda"
} else if cfg!(feature = "rocm") {
    "rocm"
} else if cfg!(feature = "metal") {
    "metal"
} else if cfg!(feature = "vulkan") {
    "vulkan"
} else {
    "wgpu"
};

/// The device called `name`, for example `flex` or `cuda:1`.
pub(crate) fn open(name: &str) -> Result<Device, Failure> {
    let (backend, index) = match name.split_once(':') {
        None => (name, None),
        Some((backend, index)) => {
            let parsed = index.parse::<usize>().map_err(|_| {
                let message = format!("`{index}` in `--device {name}` is no device index");
                Failure::new(message, "the first device is 0, for example `--device cuda:0`")
            })?;
            (backend, Some(parsed))
        }
    };
    if !NAMES.contains(&backend) {
        let names = NAMES.join(", ");
        let message = format!("unknown device `{backend}`, expected one of {names}");
        return Err(Failure::new(message, FLEX));
    }
    // A backend reports an absent device by panicking when it is first used.
    let opened = std::panic::catch_unwind(|| {
        let device = select(backend, index)?;
        let probe = burn::tensor::Tensor::<1>::ones([1], &device).try_into_data();
        probe.ok().map(|_| device)
    });
    match opened {
        Ok(Some(device)) => Ok(device),
        Ok(None) if !compiled_in(backend) => {
            let message = format!("the backend `{backend}` is not compiled in");
            let hint = format!("build with `cargo run --features {backend} -- ...`");
            Err(Failure::new(message, &hint))
        }
        _ => {
            let message = format!("there is no usable `{name}` device on this machine");
            Err(Failure::new(message, FLEX))
        }
    }
}

fn compiled_in(backend: &str) -> bool {
    match backend {
        "flex" => cfg!(feature = "flex"),
        "wgpu" => cfg!(feature = "wgpu"),
        "vulkan" => cfg!(feature = "vulkan"),
        "metal" => cfg!(feature = "metal"),
        "cuda" => cfg!(feature = "cuda"),
        _ => cfg!(feature = "rocm"),
    }
}

fn select(backend: &str, index: Option<usize>) -> Option<Device> {
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
    let kind = match index {
        None => burn::tensor::DeviceKind::DefaultDevice,
        Some(index) => burn::tensor::DeviceKind::DiscreteGpu(index),
    };
    match backend {
        #[cfg(feature = "flex")]
        "flex" if index.unwrap_or(0) == 0 => Some(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(kind)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Device::vulkan(kind)),
        #[cfg(feature = "metal")]
        "metal" => Some(Device::metal(kind)),
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::cuda(index.unwrap_or(0))),
        #[cfg(feature = "rocm")]
        "rocm" => Some(Device::rocm(index.unwrap_or(0))),
        _ => None,
    }
}
