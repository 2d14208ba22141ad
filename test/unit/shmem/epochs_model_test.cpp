// All that can happen to two readers, one who takes chunks away or moves them, and one who loads them, in a model of the steps that
// src/shmem/README.md argues about ("Why what a reader finds is what it looked for"): every order of steps, and of stores, is tried.
//
// Memory: a store lies in its process's buffer until some later time. Stores of a process to one place reach memory in their order;
// those to several places in any, but that a release comes after all before it (weaker than x86, whose stores stay in order). A full
// fence, an atomic read-modify-write and a lock wait until the buffer is empty. Loads are done when it is their turn: what a compiler
// or a processor does with loads is left to the thread sanitizer and to EpochsTest.
//
// The model is not the code, so it is also tried with each rule broken: it must find what that leads to.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <unordered_set>
#include <vector>

namespace tandem::shmem {
namespace {

/// What is done as the README says; a test breaks one of them.
struct Rules {
  bool reader_fences = true;         ///< between saying that it is inside and looking
  bool reader_leaves_last = true;    ///< not before its last look
  bool unlinks_before_stamp = true;  ///< or a reader with a newer epoch finds what was stamped
  bool waits_for_readers = true;     ///< a frame is free when they have left
  bool scans_under_lock = true;      ///< nothing is stamped between looking at the readers and freeing
  bool same_epoch_holds = true;      ///< a reader with the stamp's epoch may have come before it
  bool links_with_release = true;    ///< what is in the frame comes before its number
};

constexpr int kReaders = 2;
constexpr int kRemover = kReaders;
constexpr int kLoader = kReaders + 1;
constexpr int kProcesses = kReaders + 2;
constexpr int kChunks = 2;
constexpr int kFrames = 2;
constexpr std::uint8_t kNone = 0xFF;
constexpr std::uint8_t kGarbage = 0xEE;
constexpr std::uint8_t kOutside = 0;

/// Places in memory that are stored to without a lock.
enum Place : std::uint8_t {
  kEntered = 0,
  kEntry = kEntered + kReaders,
  kContent = kEntry + kChunks,
  kPlaces = kContent + kFrames
};

struct Store {
  std::uint8_t place;
  std::uint8_t value;
  std::uint8_t is_release;
};

struct Process {
  static constexpr int kRoom = 4;
  std::uint8_t step;
  std::uint8_t rounds;  ///< left
  std::uint8_t chunk;
  std::uint8_t frame;
  std::uint8_t other;  ///< another frame, or an epoch
  std::uint8_t next;   ///< reader to look at
  std::uint8_t stores;
  Store buffer[kRoom];
};

struct Retired {
  std::uint8_t frame;
  std::uint8_t stamp;
};

/// Bytes only: states are compared, and remembered, as such.
struct State {
  std::uint8_t memory[kPlaces];
  std::uint8_t epoch;
  std::uint8_t is_free[kFrames];
  std::uint8_t retired_count;
  Retired retired[kFrames];
  std::uint8_t locked_by;       ///< the directory's lock
  std::uint8_t pool_locked_by;  ///< for single steps it is not taken, only asked for
  Process processes[kProcesses];
};
static_assert(sizeof(State) ==
                  kPlaces + 1 + kFrames + 1 + sizeof(Retired) * kFrames + 2 + kProcesses * sizeof(Process),
              "no padding, which would be compared");

class Model {
 public:
  /// stays: of each reader.
  explicit Model(const Rules& rules, std::array<std::uint8_t, kReaders> stays = {1, 1})
      : rules_(rules), stays_(stays) {}

  /// Tries everything. True if no reader ever finds anything but its chunk.
  bool Holds() {
    State first = {};
    for (int i = 0; i < kChunks; i++) first.memory[kEntry + i] = kNone;
    // Chunk 0 is in frame 0; the other one has never been used.
    first.memory[kEntry] = 0;
    first.memory[kContent + 1] = kGarbage;
    first.is_free[1] = 1;
    first.epoch = 1;
    first.locked_by = first.pool_locked_by = kNone;
    for (int i = 0; i < kReaders; i++) first.processes[i].rounds = stays_[i];
    first.processes[kRemover].rounds = 2;
    first.processes[kLoader].rounds = 1;
    Reach(first);
    while (!open_.empty() && !found_wrong_) {
      const State state = open_.back();
      open_.pop_back();
      for (int p = 0; p < kProcesses; p++) {
        Flush(state, p);
        Step(state, p);
      }
    }
    return !found_wrong_;
  }

  [[nodiscard]] std::size_t states() const { return reached_.size(); }
  [[nodiscard]] bool has_reused() const { return has_reused_; }

 private:
  void Reach(const State& state) {
    if (reached_.emplace(reinterpret_cast<const char*>(&state), sizeof state).second) open_.push_back(state);
  }

  // ---- Memory ----

  /// Each of the stores that may reach memory next does.
  void Flush(const State& state, int p) {
    const Process& process = state.processes[p];
    for (int i = 0; i < process.stores; i++) {
      const Store store = process.buffer[i];
      bool may_pass = true;
      for (int j = 0; j < i; j++)
        may_pass = may_pass && !store.is_release && process.buffer[j].place != store.place;
      if (!may_pass) continue;
      State after = state;
      Process& owner = after.processes[p];
      after.memory[store.place] = store.value;
      for (int j = i; j + 1 < owner.stores; j++) owner.buffer[j] = owner.buffer[j + 1];
      owner.buffer[--owner.stores] = {};
      Reach(after);
    }
  }

  static void Put(Process* process, int place, std::uint8_t value, bool is_release) {
    ASSERT_LT(process->stores, Process::kRoom);
    process->buffer[process->stores++] = {static_cast<std::uint8_t>(place), value, is_release};
  }

  static std::uint8_t Load(const State& state, int p, int place) {
    const Process& process = state.processes[p];
    for (int i = process.stores; i-- > 0;)
      if (process.buffer[i].place == place) return process.buffer[i].value;
    return state.memory[place];
  }

  static bool HasStored(const State& state, int p) { return state.processes[p].stores == 0; }

  // ---- Processes ----

  void Step(const State& state, int p) {
    if (state.processes[p].rounds == 0) return;
    if (p < kReaders)
      StepReader(state, p);
    else if (p == kRemover)
      StepRemover(state);
    else
      StepLoader(state);
  }

  void Go(State state, int p, int step) {
    state.processes[p].step = static_cast<std::uint8_t>(step);
    Reach(state);
  }

  void EndRound(State state, int p) {
    Process& process = state.processes[p];
    process.step = process.chunk = process.frame = process.other = process.next = 0;
    process.rounds--;
    Reach(state);
  }

  /// Enters, finds chunk 0, looks at it twice, leaves.
  void StepReader(const State& state, int p) {
    State after = state;
    Process& reader = after.processes[p];
    switch (reader.step) {
      case 0:
        reader.other = state.epoch;
        return Go(after, p, 1);
      case 1:
        Put(&reader, kEntered + p, reader.other, true);
        return Go(after, p, 2);
      case 2:
        if (rules_.reader_fences && !HasStored(state, p)) return;
        return Go(after, p, 3);
      case 3:
        reader.frame = Load(state, p, kEntry);
        return Go(after, p, reader.frame == kNone ? 6 : 4);
      case 4:
        Look(state, p, reader.frame);
        if (!rules_.reader_leaves_last) Put(&reader, kEntered + p, kOutside, true);
        return Go(after, p, 5);
      case 5:
        Look(state, p, reader.frame);
        return rules_.reader_leaves_last ? Go(after, p, 6) : EndRound(after, p);
      default:
        Put(&reader, kEntered + p, kOutside, true);
        return EndRound(after, p);
    }
  }

  void Look(const State& state, int p, int frame) {
    if (Load(state, p, kContent + frame) != 0) found_wrong_ = true;
  }

  /// Takes a chunk away, or moves it to a free frame; any of them. With the lock.
  void StepRemover(const State& state) {
    State after = state;
    Process& remover = after.processes[kRemover];
    switch (remover.step) {
      case 0:
        if (state.locked_by != kNone || !HasStored(state, kRemover)) return;
        after.locked_by = kRemover;
        return Go(after, kRemover, 1);
      case 1:
        return Choose(state);
      case 2:
      case 3:
        // The entry, then the stamp; or, broken, the stamp first.
        if ((remover.step == 2) == rules_.unlinks_before_stamp) {
          Put(&remover, kEntry + remover.chunk, remover.other, true);
        } else {
          if (!HasStored(state, kRemover) || state.pool_locked_by != kNone) return;
          after.retired[after.retired_count++] = {remover.frame, after.epoch++};
        }
        return Go(after, kRemover, remover.step + 1);
      default:
        if (!HasStored(state, kRemover)) return;
        after.locked_by = kNone;
        return EndRound(after, kRemover);
    }
  }

  void Choose(const State& state) {
    bool is_any = false;
    for (std::uint8_t chunk = 0; chunk < kChunks; chunk++) {
      const std::uint8_t frame = Load(state, kRemover, kEntry + chunk);
      if (frame == kNone) continue;
      is_any = true;
      State after = state;
      Process& remover = after.processes[kRemover];
      remover.chunk = chunk;
      remover.frame = frame;
      remover.other = kNone;
      Go(after, kRemover, 2);
      for (std::uint8_t to = 0; to < kFrames; to++) {
        if (state.is_free[to] == 0) continue;
        State moved = after;
        moved.is_free[to] = 0;
        moved.processes[kRemover].other = to;
        Put(&moved.processes[kRemover], kContent + to, chunk, false);
        Go(moved, kRemover, 2);
      }
    }
    if (!is_any) Go(state, kRemover, 4);
  }

  /// Looks which readers are inside, takes a frame, fills it with a chunk that is not in memory, and links it.
  void StepLoader(const State& state) {
    State after = state;
    Process& loader = after.processes[kLoader];
    switch (loader.step) {
      case 0:
        if (!HasStored(state, kLoader)) return;
        loader.other = kNone;  // the oldest epoch inside
        if (rules_.scans_under_lock) after.pool_locked_by = kLoader;
        return Go(after, kLoader, 1);
      case 1: {
        const std::uint8_t entered = Load(state, kLoader, kEntered + loader.next);
        if (entered != kOutside && entered < loader.other) loader.other = entered;
        return Go(after, kLoader, ++loader.next < kReaders ? 1 : 2);
      }
      case 2:
        return TakeFrame(state);
      case 3:
        Put(&loader, kContent + loader.frame, kGarbage, false);
        return Go(after, kLoader, 4);
      case 4:
        Put(&loader, kContent + loader.frame, loader.chunk, false);
        return Go(after, kLoader, 5);
      case 5:
        if (state.locked_by != kNone) return;
        // A lock is a fence; without it only the release orders what is in the frame and its number.
        if (rules_.links_with_release && !HasStored(state, kLoader)) return;
        after.locked_by = kLoader;
        return Go(after, kLoader, 6);
      case 6:
        if (Load(state, kLoader, kEntry + loader.chunk) == kNone)
          Put(&loader, kEntry + loader.chunk, loader.frame, rules_.links_with_release);
        else
          after.is_free[loader.frame] = 1;
        return Go(after, kLoader, 7);
      default:
        if (!HasStored(state, kLoader)) return;
        after.locked_by = kNone;
        return EndRound(after, kLoader);
    }
  }

  [[nodiscard]] bool IsFree(const Retired& retired, std::uint8_t oldest_inside) const {
    if (!rules_.waits_for_readers) return true;
    return rules_.same_epoch_holds ? retired.stamp < oldest_inside : retired.stamp <= oldest_inside;
  }

  /// Under the pool's lock: one step.
  void TakeFrame(const State& state) {
    State freed = state;
    freed.pool_locked_by = kNone;
    while (freed.retired_count > 0 && IsFree(freed.retired[0], freed.processes[kLoader].other)) {
      freed.is_free[freed.retired[0].frame] = 1;
      freed.retired_count--;
      for (int i = 0; i < freed.retired_count; i++) freed.retired[i] = freed.retired[i + 1];
      freed.retired[freed.retired_count] = {};
      has_reused_ = true;
    }
    bool is_any = false;
    for (std::uint8_t frame = 0; frame < kFrames; frame++)
      for (std::uint8_t chunk = 0; chunk < kChunks && freed.is_free[frame] != 0; chunk++) {
        is_any = true;
        State after = freed;
        after.is_free[frame] = 0;
        after.processes[kLoader].frame = frame;
        after.processes[kLoader].chunk = chunk;
        Go(after, kLoader, 3);
      }
    if (is_any) return;
    // None: looks again, as often as it takes.
    freed.processes[kLoader].next = 0;
    Go(freed, kLoader, 0);
  }

  const Rules rules_;
  const std::array<std::uint8_t, kReaders> stays_;
  std::unordered_set<std::string> reached_;
  std::vector<State> open_;
  bool found_wrong_ = false;
  bool has_reused_ = false;
};

TEST(EpochsModel, NoReaderFindsAnythingElse) {
  // Two at once; and one that comes again, whose old stay must not be taken for the new one.
  for (const std::array<std::uint8_t, kReaders> stays : {std::array<std::uint8_t, kReaders>{1, 1}, {2, 0}}) {
    Model model(Rules{}, stays);
    EXPECT_TRUE(model.Holds());
    EXPECT_TRUE(model.has_reused()) << "frames came back, or the model says nothing";
    EXPECT_GT(model.states(), 10'000U);
    RecordProperty("states" + std::to_string(stays[0]), static_cast<int>(model.states()));
  }
}

TEST(EpochsModel, FindsThatAReaderWithoutItsFenceIsNotSeen) {
  Rules rules;
  rules.reader_fences = false;
  EXPECT_FALSE(Model(rules).Holds());
}

TEST(EpochsModel, FindsThatAReaderLeavesTooEarly) {
  Rules rules;
  rules.reader_leaves_last = false;
  EXPECT_FALSE(Model(rules).Holds());
}

TEST(EpochsModel, FindsThatWhatIsStampedCanStillBeFound) {
  Rules rules;
  rules.unlinks_before_stamp = false;
  EXPECT_FALSE(Model(rules).Holds());
}

TEST(EpochsModel, FindsThatNobodyWaitsForReaders) {
  Rules rules;
  rules.waits_for_readers = false;
  EXPECT_FALSE(Model(rules).Holds());
}

TEST(EpochsModel, FindsThatALookAtReadersSaysNothingOfLaterStamps) {
  Rules rules;
  rules.scans_under_lock = false;
  EXPECT_FALSE(Model(rules).Holds());
}

TEST(EpochsModel, FindsThatAReaderOfTheSameEpochIsForgotten) {
  Rules rules;
  rules.same_epoch_holds = false;
  EXPECT_FALSE(Model(rules).Holds());
}

TEST(EpochsModel, FindsThatANumberComesBeforeWhatIsInTheFrame) {
  Rules rules;
  rules.links_with_release = false;
  EXPECT_FALSE(Model(rules).Holds());
}

}  // namespace
}  // namespace tandem::shmem
