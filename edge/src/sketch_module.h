// Sketches as numpy's arrays: see memdb_edge.pyi.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>

#include "sketch.h"

namespace memdb_edge {

// (rows, width) u8 codes and (rows, 3) float32 measures; None where there are none.
using Codes = std::optional<pybind11::array_t<std::uint8_t, pybind11::array::c_style>>;
using Measures = std::optional<pybind11::array_t<float, pybind11::array::c_style>>;

// As long as the arrays live; raises where they are not of so many rows.
Sketch SketchOf(const Codes& codes, const Measures& measures, std::size_t rows, std::size_t width);
void DefineSketch(pybind11::module_& module);

}  // namespace memdb_edge
