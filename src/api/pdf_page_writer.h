// Text and tables on A4 pages: the little of PDF that a report needs. The only header that the
// report sees of it; the library stays in pdf_page_writer.cpp. Not synchronised.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

class PdfPageWriter {
 public:
  struct Properties {
    std::string title;
    std::string creator;
    SystemTime made_at;
  };
  explicit PdfPageWriter(const Properties& properties);
  ~PdfPageWriter();

  // Text is UTF-8; what Windows-1252 does not have is printed as '?'. All of it is broken into
  // lines, and lines go on to the next page.
  void title(std::string_view text);
  void heading(std::string_view text);
  void paragraph(std::string_view text);

  struct Column {
    std::string name;
    float width = 0;  // in points; the page has 770
  };
  // From here on rows have these columns; their names stand on every page again.
  void begin_table(std::vector<Column> columns);
  void row(std::initializer_list<std::string_view> cells);
  void end_table();

  // The document, each page with its number. Errors: internal.
  Result<WipedString> finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace betrace::kms
