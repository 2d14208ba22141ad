#pragma once
// C++ objects that live as long as a memory context.

#include "pg/pg.hpp"

#include <new>
#include <type_traits>

#include "pg/guard.hpp"

namespace tandem::pg {

/// Constructs a T in `context` and registers its destructor as a reset callback: the end of the context, also by an error or
/// the end of a transaction, destroys the object. The destructor must not call the server nor throw. Exceptions of the
/// constructor become errors.
template <typename T, typename... Args>
T* Own(MemoryContext context, Args&&... args) {
  static_assert(std::is_nothrow_destructible_v<T>);
  void* memory = MemoryContextAlloc(context, sizeof(T));
  auto* callback =
      static_cast<MemoryContextCallback*>(MemoryContextAlloc(context, sizeof(MemoryContextCallback)));
  T* object = Guard([&] { return new (memory) T(std::forward<Args>(args)...); });
  callback->func = [](void* owned) { static_cast<T*>(owned)->~T(); };
  callback->arg = object;
  MemoryContextRegisterResetCallback(context, callback);
  return object;
}

}  // namespace tandem::pg
