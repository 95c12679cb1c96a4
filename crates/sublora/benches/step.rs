use adapters::LoraConfig;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use counter_rng::Key;
use gpt2_model::{Gpt2Config, PlainGpt2, cross_entropy, parameters, score};
use std::time::Instant;

fn main() {
    let config = Gpt2Config { bias: false, ..Gpt2Config::default() };
    let key = Key::from_seed(1);
    let device = Device::flex();
    let train = std::env::args().any(|a| a == "step");
    let device = if train { device.autodiff() } else { device };
    let t = Instant::now();
    let base = PlainGpt2::random(&config, key, &device).unwrap();
    let model = LoraConfig::default().adapt(base, key).unwrap();
    println!("build {:?}", t.elapsed());
    let d: usize = parameters(&model)
        .iter()
        .filter(|p| p.name.contains("lora_"))
        .map(|p| p.shape.iter().product::<usize>())
        .sum();
    println!("D {d}");
    let ids: Vec<i64> = (0..257).map(|i| (i * 7919) % 50257).collect();
    let x = Tensor::<2, Int>::from_data(TensorData::new(ids[..256].to_vec(), [1, 256]), &device);
    let y = Tensor::<1, Int>::from_data(
        TensorData::new(ids[1..].to_vec(), [256]),
        &device.clone().without_autodiff(),
    );
    for _ in 0..4 {
        let t = Instant::now();
        let h = model.hidden(x.clone());
        let t1 = t.elapsed();
        let h = h.reshape([256, 768]);
        if train {
            let loss = cross_entropy(&model.head_factors(h), y.clone());
            let t2 = t.elapsed();
            let mut grads = loss.backward();
            let t3 = t.elapsed();
            let g = GradientsParams::from_module(&mut grads, &model);
            println!("hidden {t1:?} loss {t2:?} backward {t3:?} grads {}", g.len());
        } else {
            let s = score(&model.head_factors(h), y.clone()).unwrap();
            let t2 = t.elapsed();
            println!("hidden {t1:?} score {t2:?} {}", s.ln_p[0]);
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|l| l.starts_with("VmHWM")).unwrap());
    let _ = model.num_params();
}
