mod perf;
mod smoke;
