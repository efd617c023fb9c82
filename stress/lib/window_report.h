// The heat map and the rates of each window, as the result tells them (docs/interfaces.md section
// 4).
#pragma once

#include <nlohmann/json.hpp>

#include "lib/window_book.h"

namespace at {

nlohmann::json window_hits(const WindowBook& book);
nlohmann::json heat_map(const WindowBook& book);

} // namespace at
