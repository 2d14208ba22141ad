#pragma once
// When may memory that was taken away be used again? Epoch-based reclamation: Fraser, "Practical lock-freedom" (2004),
// section 5.2.3, with a count for each retirement instead of three epochs. README.md has the argument in full.
//
// Includes no server header, so that threads can attack it under a sanitizer (test/unit/shmem).

#include <atomic>
#include <cstdint>

namespace tandem::shmem {

/// No load behind it is done before a store in front of it has reached everybody. GCC warns that its thread sanitizer
/// does not see fences; nothing relies on this one for what the sanitizer looks for, which is who happened before whom.
#if defined(__GNUC__) && !defined(__clang__) && defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
inline void FullFence() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
#if defined(__GNUC__) && !defined(__clang__) && defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic pop
#endif

/// Readers enter and leave without a lock; each has a number of its own. Writers take something out of reach, ask for its
/// Stamp(), and may use it again when the stamp is less than OldestInside().
class Epochs {
 public:
  /// Nobody is inside.
  static constexpr std::uint64_t kNever = ~std::uint64_t{0};

  /// On a cache line of its own, and the one that is fetched with it.
  struct alignas(128) Reader {
    std::atomic<std::uint64_t> entered;  ///< kOutside, or the epoch
  };

  struct alignas(128) Shared {
    std::atomic<std::uint64_t> epoch;
  };

  Epochs() = default;
  Epochs(Shared* shared, Reader* readers, std::uint32_t reader_count) noexcept
      : shared_(shared), readers_(readers), reader_count_(reader_count) {}

  /// Once, before anybody else uses the memory.
  void Init() const noexcept {
    shared_->epoch.store(kOutside + 1, std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < reader_count_; i++)
      readers_[i].entered.store(kOutside, std::memory_order_relaxed);
  }

  /// What is in reach afterwards stays as it is until Leave().
  void Enter(std::uint32_t reader) const noexcept {
    const std::uint64_t epoch = shared_->epoch.load(std::memory_order_acquire);
    readers_[reader].entered.store(epoch, std::memory_order_release);
    FullFence();
  }

  void Leave(std::uint32_t reader) const noexcept {
    readers_[reader].entered.store(kOutside, std::memory_order_release);
  }

  [[nodiscard]] bool IsInside(std::uint32_t reader) const noexcept {
    return readers_[reader].entered.load(std::memory_order_relaxed) != kOutside;
  }

  /// For what this process has put out of reach before the call. Stamps grow.
  [[nodiscard]] std::uint64_t Stamp() const noexcept {
    FullFence();
    return shared_->epoch.fetch_add(1, std::memory_order_acq_rel);
  }

  /// Whoever may see something with a smaller stamp has left; the caller has seen the stamps' writers.
  [[nodiscard]] std::uint64_t OldestInside() const noexcept {
    FullFence();
    std::uint64_t oldest = kNever;
    for (std::uint32_t i = 0; i < reader_count_; i++) {
      const std::uint64_t entered = readers_[i].entered.load(std::memory_order_acquire);
      if (entered != kOutside && entered < oldest) oldest = entered;
    }
    return oldest;
  }

 private:
  static constexpr std::uint64_t kOutside = 0;

  Shared* shared_ = nullptr;
  Reader* readers_ = nullptr;
  std::uint32_t reader_count_ = 0;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "processes share it");

}  // namespace tandem::shmem
