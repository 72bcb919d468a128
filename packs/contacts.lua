-- A contact list into a table that is there already: the example of docs/new-entity.md, which says what each line is for.
--
-- The table, with columns of its own:
--   CREATE TABLE contacts (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, phone TEXT, company TEXT,
--                          country TEXT, birthday TEXT, newsletter TEXT NOT NULL CHECK (newsletter IN ('yes', 'no')));

-- A rule that looks at more than one cell: nothing, or the property whose cell is wrong, a code, and what to do.
local function check_newsletter(row)
  if row.document.newsletter == "yes" and not row.document.email then
    return "email", "required", "The newsletter goes out by email ({newsletter}). Write the address here, or no there."
  end
end

return {
  name = "contacts",
  title = "A contact list in a table of its own",
  version = 1,
  collections = {
    {name = "contacts", store = "crm", id = "id"},
  },
  sheets = {
    {
      name = "Contacts", entity = "contacts", collection = "contacts", note = "One row for each person.",
      columns = {
        {heading = "Contact ID", property = "id", type = "id", id = true, note = "Leave it empty for a new contact."},
        {heading = "Name", property = "name", type = "text", required = true, example = "Ann Example"},
        {heading = "Email", property = "email", type = "email", unique = true, example = "ann@example.com"},
        {heading = "Phone", property = "phone", type = "phone", example = "+351912345678"},
        {heading = "Company", property = "company", type = "text", example = "Example Ltd"},
        {heading = "Country", property = "country", type = "country", example = "PT"},
        {heading = "Birthday", property = "birthday", type = "date", example = "1990-05-17"},
        {heading = "Newsletter", property = "newsletter", type = "choice", choices = {"yes", "no"}, default = "no", example = "yes"},
      },
      rules = {{needs = {"email", "newsletter"}, check = check_newsletter}},
    },
  },
}
