#pragma once
// A filter cache in ordinary memory, with threads for processes.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "shmem/filter_directory.hpp"

namespace tandem::shmem {

/// First fit in one piece of memory. What is freed is written over, so that whoever still reads it notices.
class Arena {
 public:
  explicit Arena(std::size_t bytes) : words_(bytes / 8 + 1), bytes_(bytes) { free_[8] = bytes - 8; }

  /// Called once, by the next allocation: what others do between a publisher's look and its linking.
  std::function<void()> meanwhile;

  std::atomic<std::uint32_t> now{1000};  ///< seconds
  bool is_coming = false;                ///< memory: there is none now; not to be changed while threads run
  bool is_ahead = false;                 ///< nobody has asked for what is asked for; the same

  [[nodiscard]] std::uint64_t Allocate(std::size_t bytes) {
    if (meanwhile) std::exchange(meanwhile, nullptr)();
    const std::lock_guard<std::mutex> guard(mutex_);
    const std::size_t size = (bytes + 7) / 8 * 8;
    for (auto range = free_.begin(); range != free_.end(); ++range) {
      if (range->second < size) continue;
      const std::uint64_t at = range->first;
      const std::size_t rest = range->second - size;
      free_.erase(range);
      if (rest > 0) free_[at + size] = rest;
      used_[at] = size;
      return at;
    }
    return 0;
  }

  void Free(std::uint64_t at) {
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto used = used_.find(at);
    if (used == used_.end()) {
      freed_twice_ = true;
      return;
    }
    std::memset(Address(at), 0xEE, used->second);
    auto range = free_.emplace(at, used->second).first;
    used_.erase(used);
    const auto next = std::next(range);
    if (next != free_.end() && range->first + range->second == next->first) {
      range->second += next->second;
      free_.erase(next);
    }
    if (range == free_.begin()) return;
    const auto previous = std::prev(range);
    if (previous->first + previous->second != range->first) return;
    previous->second += range->second;
    free_.erase(range);
  }

  [[nodiscard]] char* Address(std::uint64_t at) { return reinterpret_cast<char*>(words_.data()) + at; }
  [[nodiscard]] bool IsEmpty() const { return used_.empty() && free_.size() == 1; }
  [[nodiscard]] bool freed_twice() const { return freed_twice_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::mutex mutex_;
  std::vector<std::uint64_t> words_;
  std::size_t bytes_;
  std::map<std::uint64_t, std::size_t> free_;
  std::map<std::uint64_t, std::size_t> used_;
  bool freed_twice_ = false;
};

struct TestFilterHost {
  Arena* arena = nullptr;
  std::shared_mutex* mutex = nullptr;

  inline static thread_local bool is_exclusive = false;

  void LockShared() const { mutex->lock_shared(); }
  void LockExclusive() const {
    mutex->lock();
    is_exclusive = true;
  }
  void Unlock() const {
    if (is_exclusive) {
      is_exclusive = false;
      mutex->unlock();
    } else {
      mutex->unlock_shared();
    }
  }
  [[nodiscard]] std::uint64_t Allocate(std::size_t bytes, double /*worth*/) const {
    return arena->is_coming ? FilterDirectory<TestFilterHost>::kComing : arena->Allocate(bytes);
  }
  void Free(std::uint64_t at) const { arena->Free(at); }
  [[nodiscard]] char* Address(std::uint64_t at) const { return arena->Address(at); }
  /// As if the arena had frames.
  [[nodiscard]] bool AreTogether(std::uint64_t a, std::uint64_t b) const { return a >> 16 == b >> 16; }
  [[nodiscard]] std::uint64_t BytesTotal() const { return arena->bytes(); }
  [[nodiscard]] static policy::BudgetMode Mode() { return policy::BudgetMode::kCoordinated; }
  [[nodiscard]] std::uint32_t Now() const { return arena->now; }
  [[nodiscard]] bool IsAhead() const { return arena->is_ahead; }
};

using TestFilterDirectory = FilterDirectory<TestFilterHost>;

class TestFilters {
 public:
  explicit TestFilters(std::size_t bytes) : arena(bytes) {
    const std::uint32_t buckets = TestFilterDirectory::BucketsFor(bytes);
    shared_.resize(TestFilterDirectory::SharedBytes(buckets) / sizeof(Line) + 1);
    directory = TestFilterDirectory(reinterpret_cast<TestFilterDirectory::Shared*>(shared_.data()),
                                    {&arena, &mutex_});
    directory.Init(buckets);
  }

  /// Nothing can be found, and all memory was given back, once.
  [[nodiscard]] bool IsEmpty() {
    const FilterCacheStatus status = directory.ReadStatus();
    return status.keys == 0 && status.sets == 0 && status.pinned == 0 && status.bytes_used == 0 &&
           arena.IsEmpty() && !arena.freed_twice();
  }

  Arena arena;
  TestFilterDirectory directory;

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  std::shared_mutex mutex_;
  std::vector<Line> shared_;
};

[[nodiscard]] inline FilterKey KeyOf(const std::string& bytes, std::uint32_t database = 1) {
  return {bytes.data(), static_cast<std::uint32_t>(bytes.size()), database,
          std::hash<std::string>()(bytes) * 0x9E3779B97F4A7C15U};
}

}  // namespace tandem::shmem
