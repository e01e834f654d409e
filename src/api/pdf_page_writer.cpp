#include "api/pdf_page_writer.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <hpdf.h>

namespace betrace::kms {
namespace {

constexpr float page_width = 842, page_height = 595;  // A4, on its side
constexpr float margin = 36;
constexpr float text_width = page_width - 2 * margin;
constexpr float bottom = margin + 18;  // the page number is below
constexpr float cell_padding = 4;

struct Style {
  HPDF_Font font = nullptr;
  float size = 0;
  float line_height() const { return size * 1.35F; }
};

// The next character of valid UTF-8, taken off the front.
std::uint32_t next_character(std::string_view& text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  std::uint32_t character = length == 1 ? lead : lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length && i < text.size(); ++i) {
    character = character << 6 | (static_cast<unsigned char>(text[i]) & 0x3fU);
  }
  text.remove_prefix(std::min(length, text.size()));
  return character;
}

// As the fonts that every reader has are encoded.
std::string windows_1252(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto character = next_character(text);
    const bool latin =
        (character >= 0x20 && character < 0x7f) || (character >= 0xa0 && character <= 0xff);
    out += latin ? static_cast<char>(character) : character < 0x20 ? ' ' : '?';
  }
  return out;
}

HPDF_Date pdf_date(SystemTime at) {
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(at - day));
  return {.year = static_cast<int>(date.year()),
          .month = static_cast<int>(static_cast<unsigned>(date.month())),
          .day = static_cast<int>(static_cast<unsigned>(date.day())),
          .hour = static_cast<int>(time.hours().count()),
          .minutes = static_cast<int>(time.minutes().count()),
          .seconds = static_cast<int>(time.seconds().count()),
          .ind = 'Z',
          .off_hour = 0,
          .off_minutes = 0};
}

}  // namespace

// The library keeps the first error, and its calls do nothing from then on: it is asked for at the
// end.
class PdfPageWriter::Impl {
 public:
  explicit Impl(const Properties& properties) : document_(HPDF_New(nullptr, nullptr)) {
    if (document_ == nullptr) return;
    HPDF_SetCompressionMode(document_, HPDF_COMP_TEXT);
    const auto title = windows_1252(properties.title);
    HPDF_SetInfoAttr(document_, HPDF_INFO_TITLE, title.c_str());
    HPDF_SetInfoAttr(document_, HPDF_INFO_CREATOR, properties.creator.c_str());
    HPDF_SetInfoDateAttr(document_, HPDF_INFO_CREATION_DATE, pdf_date(properties.made_at));
    const auto regular = HPDF_GetFont(document_, "Helvetica", "WinAnsiEncoding");
    const auto bold = HPDF_GetFont(document_, "Helvetica-Bold", "WinAnsiEncoding");
    title_ = {.font = bold, .size = 18};
    heading_ = {.font = bold, .size = 12};
    body_ = {.font = regular, .size = 10};
    cell_ = {.font = regular, .size = 8};
    cell_name_ = {.font = bold, .size = 8};
    begin_page();
  }
  ~Impl() {
    if (document_ != nullptr) HPDF_Free(document_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void title(std::string_view text) { block(text, title_, 0); }
  void heading(std::string_view text) {
    // A heading does not stay behind alone.
    if (left() < 60) begin_page();
    block(text, heading_, 12);
  }
  void paragraph(std::string_view text) { block(text, body_, 4); }

  void begin_table(std::vector<Column> columns) {
    columns_ = std::move(columns);
    if (left() < 90) begin_page();
    down(6);
    names();
  }
  void row(std::initializer_list<std::string_view> cells) {
    std::vector<std::string> texts;
    for (const auto cell : cells) texts.push_back(windows_1252(cell));
    draw_row(texts, cell_);
  }
  void end_table() { columns_.clear(); }

  Result<WipedString> finish() {
    number_pages();
    if (document_ == nullptr || HPDF_GetError(document_) != HPDF_OK ||
        HPDF_SaveToStream(document_) != HPDF_OK) {
      const auto code = document_ == nullptr ? HPDF_FAILD_TO_ALLOC_MEM : HPDF_GetError(document_);
      return fail(ErrorCode::internal, fmt::format("the PDF could not be made (0x{:04x})", code));
    }
    WipedString out(HPDF_GetStreamSize(document_), '\0');
    auto size = static_cast<HPDF_UINT32>(out.size());
    HPDF_ResetStream(document_);
    HPDF_ReadFromStream(document_, reinterpret_cast<HPDF_BYTE*>(out.data()), &size);
    out.resize(size);
    return out;
  }

 private:
  float left() const { return y_ - bottom; }
  void down(float by) { y_ -= by; }

  void begin_page() {
    page_ = HPDF_AddPage(document_);
    HPDF_Page_SetWidth(page_, page_width);
    HPDF_Page_SetHeight(page_, page_height);
    pages_.push_back(page_);
    y_ = page_height - margin;
  }

  void print(const char* text, float x, float y, const Style& style) {
    HPDF_Page_BeginText(page_);
    HPDF_Page_SetFontAndSize(page_, style.font, style.size);
    HPDF_Page_TextOut(page_, x, y, text);
    HPDF_Page_EndText(page_);
  }

  // `text` in pieces that are no wider than `width`; at blanks where there are any.
  std::vector<std::string> lines(std::string text, float width, const Style& style) {
    std::vector<std::string> out;
    HPDF_Page_SetFontAndSize(page_, style.font, style.size);
    while (!text.empty()) {
      std::size_t fits = HPDF_Page_MeasureText(page_, text.c_str(), width, HPDF_TRUE, nullptr);
      if (fits == 0) fits = HPDF_Page_MeasureText(page_, text.c_str(), width, HPDF_FALSE, nullptr);
      fits = std::clamp<std::size_t>(fits, 1, text.size());
      out.push_back(text.substr(0, fits));
      text.erase(0, fits);
    }
    return out;
  }

  void block(std::string_view text, const Style& style, float space_above) {
    down(space_above);
    for (const auto& line : lines(windows_1252(text), text_width, style)) {
      if (left() < style.line_height()) begin_page();
      down(style.line_height());
      print(line.c_str(), margin, y_, style);
    }
  }

  void names() {
    std::vector<std::string> texts;
    for (const auto& column : columns_) texts.push_back(column.name);
    draw_row(texts, cell_name_);
    HPDF_Page_SetLineWidth(page_, 0.5);
    HPDF_Page_MoveTo(page_, margin, y_ - 3);
    HPDF_Page_LineTo(page_, page_width - margin, y_ - 3);
    HPDF_Page_Stroke(page_);
    down(3);
  }

  void draw_row(const std::vector<std::string>& texts, const Style& style) {
    std::vector<std::vector<std::string>> cells;
    std::size_t height = 1;
    for (std::size_t i = 0; i < columns_.size() && i < texts.size(); ++i) {
      cells.push_back(lines(texts[i], columns_[i].width - cell_padding, style));
      height = std::max(height, cells.back().size());
    }
    if (left() < static_cast<float>(height) * style.line_height()) {
      begin_page();
      if (style.font != cell_name_.font) names();
    }
    const auto top = y_;
    float x = margin;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      auto y = top;
      for (const auto& line : cells[i]) {
        y -= style.line_height();
        print(line.c_str(), x, y, style);
      }
      x += columns_[i].width;
    }
    down(static_cast<float>(height) * style.line_height());
  }

  void number_pages() {
    for (std::size_t i = 0; i < pages_.size(); ++i) {
      page_ = pages_[i];
      print(fmt::format("Page {} of {}", i + 1, pages_.size()).c_str(), margin, margin, cell_);
    }
  }

  HPDF_Doc document_;
  HPDF_Page page_ = nullptr;
  std::vector<HPDF_Page> pages_;
  std::vector<Column> columns_;
  float y_ = 0;
  Style title_, heading_, body_, cell_, cell_name_;
};

PdfPageWriter::PdfPageWriter(const Properties& properties)
    : impl_(std::make_unique<Impl>(properties)) {}
PdfPageWriter::~PdfPageWriter() = default;

void PdfPageWriter::title(std::string_view text) { impl_->title(text); }
void PdfPageWriter::heading(std::string_view text) { impl_->heading(text); }
void PdfPageWriter::paragraph(std::string_view text) { impl_->paragraph(text); }
void PdfPageWriter::begin_table(std::vector<Column> columns) {
  impl_->begin_table(std::move(columns));
}
void PdfPageWriter::row(std::initializer_list<std::string_view> cells) { impl_->row(cells); }
void PdfPageWriter::end_table() { impl_->end_table(); }
Result<WipedString> PdfPageWriter::finish() { return impl_->finish(); }

}  // namespace betrace::kms
