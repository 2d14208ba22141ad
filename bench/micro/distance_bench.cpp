// Distance kernels: in cache, and streaming over more memory than any cache holds.
//
//   cmake --preset release && cmake --build --preset release && build/release/distance_bench
//
// Reported per distance. `hot` keeps both vectors in the first-level cache, aligned to 64 bytes or not;
// `cold` compares one query with vectors laid end to end over 256 MB.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>

#include "vec/kernels.hpp"

namespace {

using tandem::vec::DistanceKernels;

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kColdBytes = std::size_t{256} << 20;
constexpr std::size_t kDimensions[] = {128, 256, 768, 784, 1536};

enum class Operation { kL2Squared, kInnerProduct, kL1, kDotAndNorm };

struct Free {
  void operator()(float* values) const { std::free(values); }
};
using AlignedFloats = std::unique_ptr<float[], Free>;

AlignedFloats MakeFloats(std::size_t count) {
  AlignedFloats floats(static_cast<float*>(std::aligned_alloc(kAlignment, count * sizeof(float))));
  // Cheap, deterministic and without denormals or overflow; the values do not influence the speed.
  for (std::size_t i = 0; i < count; ++i) floats[i] = static_cast<float>(i % 251) - 125.0F;
  return floats;
}

float Run(const DistanceKernels& kernels, Operation operation, const float* a, const float* b,
          std::size_t n) {
  switch (operation) {
    case Operation::kL2Squared:
      return kernels.l2_squared(a, b, n);
    case Operation::kInnerProduct:
      return kernels.inner_product(a, b, n);
    case Operation::kL1:
      return kernels.l1(a, b, n);
    case Operation::kDotAndNorm: {
      const auto parts = kernels.dot_and_norm(a, b, n);
      return parts.dot + parts.norm_squared;
    }
  }
  return 0.0F;
}

/// offset: how many floats the second vector lies past a 64-byte boundary, as vectors on index pages do.
void Hot(benchmark::State& state, const DistanceKernels& kernels, Operation operation, std::size_t n,
         std::size_t offset) {
  const AlignedFloats a = MakeFloats(n + kAlignment);
  const AlignedFloats b = MakeFloats(n + kAlignment);
  const float* stored = b.get() + offset;
  while (state.KeepRunning()) {
    benchmark::DoNotOptimize(stored);  // otherwise the call might move out of the loop
    benchmark::DoNotOptimize(Run(kernels, operation, a.get(), stored, n));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}

void Cold(benchmark::State& state, const DistanceKernels& kernels, Operation operation, std::size_t n) {
  const std::size_t vectors = kColdBytes / (n * sizeof(float));
  static const AlignedFloats stored = MakeFloats(kColdBytes / sizeof(float));
  const AlignedFloats query = MakeFloats(n);
  while (state.KeepRunning()) {
    for (std::size_t i = 0; i < vectors; ++i) {
      benchmark::DoNotOptimize(Run(kernels, operation, query.get(), stored.get() + i * n, n));
    }
  }
  const auto distances = static_cast<double>(state.iterations()) * static_cast<double>(vectors);
  state.counters["per_distance"] =
      benchmark::Counter(distances, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.SetBytesProcessed(static_cast<std::int64_t>(distances * static_cast<double>(n * sizeof(float))));
}

const char* Name(Operation operation) {
  switch (operation) {
    case Operation::kL2Squared:
      return "l2_squared";
    case Operation::kInnerProduct:
      return "inner_product";
    case Operation::kL1:
      return "l1";
    case Operation::kDotAndNorm:
      return "dot_and_norm";
  }
  return "";
}

void RegisterAll() {
  for (const DistanceKernels* kernels : tandem::vec::AvailableKernels()) {
    for (const Operation operation :
         {Operation::kL2Squared, Operation::kInnerProduct, Operation::kL1, Operation::kDotAndNorm}) {
      for (const std::size_t n : kDimensions) {
        const std::string suffix =
            std::string(Name(operation)) + "/" + kernels->name + "/" + std::to_string(n);
        benchmark::RegisterBenchmark(("hot/" + suffix).c_str(), Hot, *kernels, operation, n, std::size_t{0});
        benchmark::RegisterBenchmark(("hot_unaligned/" + suffix).c_str(), Hot, *kernels, operation, n,
                                     std::size_t{6});
        benchmark::RegisterBenchmark(("cold/" + suffix).c_str(), Cold, *kernels, operation, n)
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
