//! Burn on the processor: `peer-burn flex` or `peer-burn ndarray`.

use burn::tensor::Device;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let device = match name.as_str() {
        "flex" => Device::flex(),
        "ndarray" => Device::ndarray(),
        _ => {
            eprintln!("usage: peer-burn flex|ndarray");
            std::process::exit(2);
        }
    };
    peer::serve(&format!("burn {name}"), peer_burn::VERSION, |case| peer_burn::load(case, &device));
}
