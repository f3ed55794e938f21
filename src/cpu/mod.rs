//! The CPU engine: f32, SIMD by run-time detection, any number of threads.
//!
//! [`CpuModel`] holds packed weights, [`CpuSession`] the working memory and threads of runs.
//!
//! | module | subject |
//! |---|---|
//! | `aligned` | memory that begins at a cache line |
//! | `math` | sigmoid, tanh and the other activations on vectors |
//! | `pack` | weights in kernel order |
//! | `kernel` | the register-blocked product and its tiles |
//! | `step` | kernels: projection, one step of both reset forms |
//! | `rows` | the rows that run together: order, place in time, inputs and outputs |
//! | `part` | the time loop of one layer and direction on one thread |
//! | `places` | processors of their own for the threads of a run |
//! | `team` | the exchange of states between threads that share units |
//! | `split` | how many threads, and what each takes |
//! | `session` | layers, threads, working memory |
//! | `windows` | long runs of stacked networks in pieces |

mod aligned;
mod kernel;
mod math;
mod pack;
mod part;
mod places;
mod rows;
mod session;
mod split;
mod step;
mod team;
#[cfg(test)]
mod tests;
mod windows;

pub(crate) use pack::CpuModel;
pub(crate) use session::CpuSession;
