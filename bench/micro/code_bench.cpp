// Kernels over 8-bit codes: in cache, over codes at random places of a memory that no cache holds, and the encoder.
//
//   cmake --preset release && cmake --build --preset release && build/release/code_bench
//
// Reported per distance, or per encoded vector. `hot` keeps both sides in the first-level cache; `random` reads codes
// as a graph search without prefetching does.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "vec/code_kernels.hpp"

namespace {

using tandem::vec::CodeKernels;

constexpr std::size_t kColdBytes = std::size_t{256} << 20;
constexpr std::size_t kDimensions[] = {100, 128, 768, 1536};

enum class Operation { kL2Squared, kL1, kDot, kQueryL2Squared, kQueryL1, kQueryDot };

/// The values do not influence the speed.
std::vector<std::uint8_t> MakeCodes(std::size_t count) {
  std::vector<std::uint8_t> codes(count);
  for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(i * 37);
  return codes;
}

std::vector<std::int16_t> MakeQuery(std::size_t count) {
  std::vector<std::int16_t> query(count);
  for (std::size_t i = 0; i < count; ++i) query[i] = static_cast<std::int16_t>(i % 400) - 100;
  return query;
}

std::uint32_t Run(const CodeKernels& kernels, Operation operation, const std::uint8_t* a,
                  const std::int16_t* query, const std::uint8_t* b, std::size_t n) {
  switch (operation) {
    case Operation::kL2Squared:
      return kernels.l2_squared(a, b, n);
    case Operation::kL1:
      return kernels.l1(a, b, n);
    case Operation::kDot:
      return kernels.dot(a, b, n);
    case Operation::kQueryL2Squared:
      return kernels.query_l2_squared(query, b, n);
    case Operation::kQueryL1:
      return kernels.query_l1(query, b, n);
    case Operation::kQueryDot:
      return static_cast<std::uint32_t>(kernels.query_dot(query, b, n));
  }
  return 0;
}

void Hot(benchmark::State& state, const CodeKernels& kernels, Operation operation, std::size_t n) {
  const std::vector<std::uint8_t> a = MakeCodes(n);
  const std::vector<std::uint8_t> b = MakeCodes(n);
  const std::vector<std::int16_t> query = MakeQuery(n);
  const std::uint8_t* stored = b.data();
  while (state.KeepRunning()) {
    benchmark::DoNotOptimize(stored);  // otherwise the call might move out of the loop
    benchmark::DoNotOptimize(Run(kernels, operation, a.data(), query.data(), stored, n));
  }
}

void Random(benchmark::State& state, const CodeKernels& kernels, Operation operation, std::size_t n) {
  static const std::vector<std::uint8_t> stored = MakeCodes(kColdBytes);
  const std::vector<std::uint8_t> a = MakeCodes(n);
  const std::vector<std::int16_t> query = MakeQuery(n);
  const std::size_t codes = kColdBytes / n;
  std::uint64_t place = 1;
  while (state.KeepRunning()) {
    place = place * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
    const std::uint8_t* b = stored.data() + (place >> 33) % codes * n;
    benchmark::DoNotOptimize(Run(kernels, operation, a.data(), query.data(), b, n));
  }
}

void Encode(benchmark::State& state, const CodeKernels& kernels, std::size_t n) {
  std::vector<float> vector(n);
  for (std::size_t i = 0; i < n; ++i) vector[i] = static_cast<float>(i % 251);
  const std::vector<float> offset(n, 3.0F);
  std::vector<std::uint8_t> code(n);
  while (state.KeepRunning()) {
    kernels.encode(vector.data(), offset.data(), 1.9F, n, code.data());
    benchmark::DoNotOptimize(code.data());
    benchmark::ClobberMemory();
  }
}

const char* Name(Operation operation) {
  switch (operation) {
    case Operation::kL2Squared:
      return "l2_squared";
    case Operation::kL1:
      return "l1";
    case Operation::kDot:
      return "dot";
    case Operation::kQueryL2Squared:
      return "query_l2_squared";
    case Operation::kQueryL1:
      return "query_l1";
    case Operation::kQueryDot:
      return "query_dot";
  }
  return "";
}

void RegisterAll() {
  for (const CodeKernels* kernels : tandem::vec::AvailableCodeKernels()) {
    for (const std::size_t n : kDimensions) {
      const std::string suffix = std::string("/") + kernels->name + "/" + std::to_string(n);
      for (const Operation operation :
           {Operation::kL2Squared, Operation::kL1, Operation::kDot, Operation::kQueryL2Squared,
            Operation::kQueryL1, Operation::kQueryDot}) {
        benchmark::RegisterBenchmark(("hot/" + (Name(operation) + suffix)).c_str(), Hot, *kernels, operation,
                                     n);
        benchmark::RegisterBenchmark(("random/" + (Name(operation) + suffix)).c_str(), Random, *kernels,
                                     operation, n);
      }
      benchmark::RegisterBenchmark(("encode" + suffix).c_str(), Encode, *kernels, n);
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
