// TRY(expression): the value of a Result, or return its error from the enclosing function.
#pragma once

#include <expected>
#include <utility>

#define TRY(...)                                                              \
  __extension__({                                                             \
    auto&& try_result_ = (__VA_ARGS__);                                       \
    if (!try_result_) return std::unexpected(std::move(try_result_).error()); \
    std::move(try_result_).value();                                           \
  })
