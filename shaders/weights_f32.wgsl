// Packed weights in f32.
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> biases: array<vec4<f32>>;

fn weight(i: u32) -> vec4<f32> { return weights[i]; }
