-- The workforce pack: users, departments, sites, products, SKUs, questionnaires, schedules, issues and days off of one organization.
-- What a pack is made of stands in docs/packs.md; what this one means for the person who fills in the sheets, in docs/workforce.md.

local STATUS = {"active", "inactive"}
local WEEKDAYS = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
local weekday_number = {}
for number, name in ipairs(WEEKDAYS) do weekday_number[name] = number end

-- ---- Days and schedules ----

-- Days since 1970-01-01 of a day of the Gregorian calendar (the usual arithmetic on years that begin in March).
local function day_number(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  local day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
  return era * 146097 + day_of_era - 719468
end

local function parts_of(date) return tonumber(date:sub(1, 4)), tonumber(date:sub(6, 7)), tonumber(date:sub(9, 10)) end
local function number_of(date) return day_number(parts_of(date)) end

local function year_and_month(number)
  local shifted = number + 719468
  local era = shifted // 146097
  local day_of_era = shifted - era * 146097
  local year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
  local day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local march_month = (5 * day_of_year + 2) // 153
  local month = march_month < 10 and march_month + 3 or march_month - 9
  return year_of_era + era * 400 + (month <= 2 and 1 or 0), month
end

local function month_length(year, month)
  local next_year, next_month = year, month + 1
  if next_month == 13 then next_year, next_month = year + 1, 1 end
  return day_number(next_year, next_month, 1) - day_number(year, month, 1)
end

-- How often a weekday (1 is Monday) falls in first..last: day 0 of the count, 1970-01-01, was a Thursday.
local function weekdays_between(weekday, first, last)
  local function up_to(number) return (number + 3 - (weekday - 1)) // 7 end
  return up_to(last) - up_to(first - 1)
end

local CYCLE = 146097 -- days of 400 years, after which the calendar repeats itself

local function monthly_between(days, first, last)
  local cycles = (last - first + 1) // CYCLE
  if cycles > 0 and last - first + 1 > CYCLE then
    return cycles * monthly_between(days, first, first + CYCLE - 1) + monthly_between(days, first + cycles * CYCLE, last)
  end
  local count = 0
  local year, month = year_and_month(first)
  while true do
    local start, length = day_number(year, month, 1), month_length(year, month)
    if start > last then return count end
    local seen = {} -- "31, last" is one day
    for _, day in ipairs(days) do
      local of_month = day == "last" and length or day
      local number = start + of_month - 1
      if of_month <= length and not seen[of_month] and number >= first and number <= last then
        seen[of_month] = true
        count = count + 1
      end
    end
    month = month + 1
    if month == 13 then year, month = year + 1, 1 end
  end
end

-- Days of first..last on which the schedule occurs, first and last being inside its own range.
local function occurrences(schedule, first, last)
  if last < first then return 0 end
  if schedule.type == "monthly" then return monthly_between(schedule.days or {}, first, last) end
  if schedule.type ~= "weekly" then return last - first + 1 end
  local count, seen = 0, {}
  for _, day in ipairs(schedule.days or {}) do
    if weekday_number[day] and not seen[day] then
      seen[day] = true
      count = count + weekdays_between(weekday_number[day], first, last)
    end
  end
  return count
end

-- Entries of a list of days off, sorted by their beginning. Many schedules ask for the same lists.
local function days_off(out, collection, id)
  local key = collection .. "/" .. (id or "")
  local entries = out.memo[key]
  if not entries then
    entries = out.list(collection, id)
    table.sort(entries, function(a, b) return a.startDate < b.startDate end)
    out.memo[key] = entries
  end
  return entries
end

-- Days off as ranges of numbers, none overlapping another, cut to first..last. Dates compare as text, so that only those inside count; their
-- numbers stay with the entries.
local function ranges_of(entries, first_date, last_date)
  local first, last, joined, open = number_of(first_date), number_of(last_date), {}, nil
  for _, entry in ipairs(entries) do
    if entry.startDate <= last_date and entry.endDate >= first_date then
      entry.first = entry.first or number_of(entry.startDate)
      entry.last = entry.last or number_of(entry.endDate)
      local from, to = math.max(entry.first, first), math.min(entry.last, last)
      if open and from <= open[2] then
        open[2] = math.max(open[2], to)
      else
        open = {from, to}
        joined[#joined + 1] = open
      end
    end
  end
  return joined
end

-- Occurrences in first..last on days that are in none of the ranges.
local function occurrences_beside(schedule, first, last, ranges)
  local count = occurrences(schedule, first, last)
  for _, range in ipairs(ranges) do
    if range[1] <= last and range[2] >= first then
      count = count - occurrences(schedule, math.max(range[1], first), math.min(range[2], last))
    end
  end
  return count
end

-- The organization's days off are taken out once for all sites; of a site's own only what is left of them.
local function total_of(schedule, out)
  local first_date, last_date = schedule.startDate, schedule.type == "once" and schedule.startDate or schedule.endDate
  local everywhere = ranges_of(days_off(out, "firestore:organization-offdays"), first_date, last_date)
  local of_a_site = occurrences_beside(schedule, number_of(first_date), number_of(last_date), everywhere)
  local total = 0
  for _, site in ipairs(schedule.siteIDs or {}) do
    total = total + of_a_site
    for _, range in ipairs(ranges_of(days_off(out, "siteoffdays", site), first_date, last_date)) do
      total = total - occurrences_beside(schedule, range[1], range[2], everywhere)
    end
  end
  return total
end

-- A day as it is stored: mon … sun for weekly; 1 … 31 or last for monthly. nil: not a day of that type.
local function day_of(type, text)
  local word = tostring(text):lower()
  if type == "weekly" then return weekday_number[word] and word end
  if word == "last" then return word end
  local number = word:match("^%d%d?$") and tonumber(word)
  return number and number >= 1 and number <= 31 and number or nil
end

local function has_days(type) return type == "weekly" or type == "monthly" end

-- ---- Functions of single sheets ----

local function adjust_schedule(row)
  local schedule = row.document
  if not schedule.type then return nil end
  local days, seen = {}, {}
  for _, text in ipairs(has_days(schedule.type) and schedule.days or {}) do
    local day = day_of(schedule.type, text)
    if not day then return nil end -- the rule on days says so
    if not seen[day] then
      seen[day] = true
      days[#days + 1] = day
    end
  end
  return {days = days}
end

local function check_days(row)
  local schedule = row.document
  if not has_days(schedule.type) then return nil end
  local allowed = schedule.type == "weekly" and "mon, tue, wed, thu, fri, sat, sun" or "1 to 31 or last"
  if #(schedule.days or {}) == 0 then
    return "days", "required", "A " .. schedule.type .. " schedule needs days. Write one or more of " .. allowed .. "."
  end
  local bad = {}
  for _, text in ipairs(schedule.days) do
    if not day_of(schedule.type, text) then bad[#bad + 1] = "“" .. tostring(text) .. "”" end
  end
  if #bad > 0 then
    local verb = #bad == 1 and " is" or " are"
    return "days", "not_allowed",
      table.concat(bad, ", ") .. verb .. " not among the days of a " .. schedule.type .. " schedule. Allowed: " .. allowed .. "."
  end
end

local function check_schedule_end(row)
  local schedule = row.document
  if schedule.type and schedule.type ~= "once" and not schedule.endDate then
    return "endDate", "required", "A " .. schedule.type .. " schedule needs an end date. Write one such as 2027-12-31."
  end
end

local function check_order_of_dates(row)
  local first, last = row.document.startDate, row.document.endDate
  if first and last and last < first then
    return "endDate", "inconsistent",
      "The end date " .. last .. " is before the start date " .. first .. " in {startDate}. Correct one of the two."
  end
end

local function check_order_of_times(row)
  local first, last = row.document.startTime, row.document.endTime
  if first and last and last <= first then
    return "endTime", "inconsistent",
      "The end time " .. last .. " is not after the start time " .. first .. " in {startTime}. Correct one of the two."
  end
end

local function collect_schedule(row, out)
  local schedule = row.document
  out.merge("schedulestatistics", row.id, {total = total_of(schedule, out)}, {completed = 0, missed = 0})
  if schedule.skuIDs and #schedule.skuIDs > 0 then
    out.merge("skuschedules", row.id, {skuIDs = schedule.skuIDs})
  elseif row.cleared.skuIDs then
    out.delete("skuschedules", row.id)
  end
end

local function check_location(row)
  local location = row.document.location or {}
  if location.latitude and not location.longitude then
    return "location.longitude", "required", "There is a latitude in {location.latitude} but no longitude. Fill in both or neither."
  end
  if location.longitude and not location.latitude then
    return "location.latitude", "required", "There is a longitude in {location.longitude} but no latitude. Fill in both or neither."
  end
end

local function collect_user(row, out)
  local user, sites = row.document, {}
  for _, id in ipairs(user.siteIDs or {}) do sites[id] = true end
  out.merge("firebase:user", row.id, {
    name = user.name, email = user.email, role = user.role, status = user.status, organizationID = out.organization, siteIDs = sites
  })
  out.merge("accounts", row.id, {
    uid = row.id, email = user.email, displayName = user.name, phoneNumber = user.phone or out.null, disabled = user.status == "inactive"
  }, {hasPassword = row.filled.password, password = row.secrets.password})
end

local function collect_questionnaire(row, out)
  local it = row.document
  local count = #(it.questions or {})
  out.merge("questionnaireindexes", row.id, {title = it.title, type = it.type, questionCount = count})
  out.merge("firebase:questionnaire", row.id, {questionnaireID = row.id, title = it.title, type = it.type, questions = it.questions})
  out.merge("firebase:questionnaireIndex", row.id, {questionnaireIndexID = row.id, title = it.title, type = it.type, questionCount = count})
end

local function check_reference(row)
  local day = row.document
  if day.scope == "organization" and (row.filled.reference or row.cleared.reference) then
    return "reference", "inconsistent",
      "A day off of the organization ({scope}) has no reference. Empty this cell, or change the scope to site or user."
  end
  if (day.scope == "site" or day.scope == "user") and not day.reference then
    return "reference", "required", day.scope == "site" and "A day off of a site needs its name. Write the name of one site."
      or "A day off of a user needs the email. Write the email of one user."
  end
end

local function adjust_day_off(row)
  if not row.document.endDate then return {endDate = row.document.startDate} end
end

-- ---- Collections ----

local function main(name, id, more)
  local collection = {name = name, store = "main", id = id, stamped = true}
  for key, value in pairs(more or {}) do collection[key] = value end
  return collection
end

local collections = {
  main("users", "userID"),
  main("user_extension", "userID"),
  main("departments", "departmentID"),
  main("departmentindexes", "_id", {
    parts = {"departmentID", "organizationID"}, shared = true, sets = {"userIDs", "siteIDs"}, copy = {from = "departments",
      properties = {"name"}}
  }),
  main("sites", "siteID"),
  main("siteindexes", "siteID", {shared = true, sets = {"userIDs", "departmentIDs", "scheduleIDs"}, copy = {from = "sites",
    properties = {"name"}}}),
  main("sitegroups", "_id", {shared = true, sets = {"siteIDs"}}),
  main("sitescheduleindexes", "scheduleID"),
  main("schedulestatistics", "_id", {parts = {"scheduleID"}}),
  main("skuschedules", "scheduleID"),
  main("products", "productID"),
  main("skus", "skuID"),
  main("issues", "issueID"),
  main("roles", "_id", {parts = {"organizationID", "role"}, shared = true, sets = {"userIDs"}}),
  main("siteoffdays", "_id", {parts = {"organizationID", "siteID"}, shared = true, list = {property = "days", keys = {"startDate",
    "endDate", "name"}}}),
  main("useroffdays", "_id", {parts = {"organizationID", "userID"}, shared = true, list = {property = "days", keys = {"startDate",
    "endDate", "name"}}}),
  main("questionnaires", "questionnaireID"),
  main("questionnaireindexes", "questionnaireIndexID"),
  {name = "firebase:user", store = "realtime", parts = {"userID"}, path = "/user/{userID}", keys = "realtime", drops_empty = true,
    organization = "organizationID"},
  {name = "firebase:questionnaire", store = "realtime", parts = {"organizationID", "questionnaireID"},
    path = "/questionnaire/{organizationID}/{questionnaireID}", keys = "realtime", drops_empty = true},
  {name = "firebase:questionnaireIndex", store = "realtime", parts = {"organizationID", "questionnaireIndexID"},
    path = "/questionnaireIndex/{organizationID}/{questionnaireIndexID}", keys = "realtime", drops_empty = true},
  {name = "firestore:organization-offdays", store = "settings", id = "organizationID",
    path = "organizations/{organizationID}/settings/offDays",
    keys = "firestore", stamped = true, shared = true, list = {property = "days", keys = {"startDate", "endDate", "name"}}},
  {name = "accounts", store = "identity", id = "uid", sensitive = {"password"}},
}

-- ---- Sheets ----

local sheets = {
  {
    name = "Users", entity = "users", collection = "users", extensions = {"user_extension"}, documents = {"firebase:user"},
    note = "One row for each user.",
    columns = {
      {heading = "User ID", property = "userID", type = "id", id = true, key = true, note = "Leave it empty for a new user."},
      {heading = "Name", property = "name", type = "text", required = true, example = "Ann Example"},
      {heading = "Email", property = "email", type = "email", required = true, unique = true, unique_in = {collection = "accounts",
        property = "email"},
        note = "Unique in the organization.", example = "ann@example.com"},
      {heading = "Phone", property = "phone", type = "phone", note = "International form: + and country code.", example = "+351912345678"},
      {heading = "Title", property = "title", type = "text", example = "Technician"},
      {heading = "Role", property = "role", type = "choice", choices = {"admin", "manager", "supervisor", "staff"}, required = true,
        example = "staff",
        members = {{collection = "roles", property = "userIDs"}}},
      {heading = "Departments", property = "departmentIDs", type = "text", list = true, references = {collection = "departments",
        by = "name"},
        note = "Names of departments, separated by commas.", members = {{collection = "departmentindexes", property = "userIDs"}},
          example = "Operations"},
      {heading = "Sites", property = "siteIDs", type = "text", list = true, references = {collection = "sites", by = "name"},
        note = "Names of sites, separated by commas.", members = {{collection = "siteindexes", property = "userIDs"}},
          example = "Lisbon 1"},
      {heading = "Language", property = "language", type = "language", default = "en", note = "A language tag; en if left empty.",
        example = "pt-PT"},
      {heading = "Status", property = "status", type = "choice", choices = STATUS, default = "active", example = "active"},
      {heading = "Employee Number", property = "employeeNumber", collection = "user_extension", type = "text", example = "E10001"},
      {heading = "Hire Date", property = "hireDate", collection = "user_extension", type = "date", example = "2026-09-01"},
      {heading = "Password", property = "password", collection = false, type = "text", min_characters = 8, sensitive = true,
        create_only = true,
        note = "At least 8 characters; only for new users."},
    },
    collect = collect_user,
  },
  {
    name = "Departments", entity = "departments", collection = "departments", note = "One row for each department.",
    columns = {
      {heading = "Department ID", property = "departmentID", type = "id", id = true, note = "Leave it empty for a new department."},
      {heading = "Name", property = "name", type = "text", required = true, unique = true, example = "Operations"},
      {heading = "Code", property = "code", type = "text", example = "D001"},
      {heading = "Email", property = "email", type = "email", example = "operations@example.com"},
      {heading = "Status", property = "status", type = "choice", choices = STATUS, default = "active", example = "active"},
    },
    indexes = {{collection = "departmentindexes", properties = {"name"}}},
  },
  {
    name = "Sites", entity = "sites", collection = "sites", note = "One row for each site.",
    columns = {
      {heading = "Site ID", property = "siteID", type = "id", id = true, key = true, note = "Leave it empty for a new site."},
      {heading = "Name", property = "name", type = "text", required = true, unique = true, example = "Lisbon 1"},
      {heading = "Code", property = "code", type = "text", example = "S0001"},
      {heading = "Address", property = "address", type = "text", max_characters = 1000, example = "1 Main St"},
      {heading = "City", property = "city", type = "text", example = "Lisbon"},
      {heading = "Country", property = "country", type = "country", note = "Two letters (ISO 3166).", example = "PT"},
      {heading = "Latitude", property = "location.latitude", type = "number", min = -90, max = 90, example = "38.7223"},
      {heading = "Longitude", property = "location.longitude", type = "number", min = -180, max = 180, example = "-9.1393"},
      {heading = "Time Zone", property = "timeZone", type = "timezone", note = "As IANA spells it.", example = "Europe/Lisbon"},
      {heading = "Site Group", property = "siteGroupID", type = "text", references = {collection = "sitegroups", by = "name", make = true,
        noun = "site group"},
        note = "One name; the group is made if it is new.", members = {{collection = "sitegroups", property = "siteIDs"}},
          example = "North"},
      {heading = "Departments", property = "departmentIDs", type = "text", list = true, references = {collection = "departments",
        by = "name"},
        note = "Names of departments, separated by commas.",
        members = {{collection = "departmentindexes", property = "siteIDs"}, {collection = "siteindexes", property = "departmentIDs",
          inverse = true}},
        example = "Operations"},
      {heading = "Status", property = "status", type = "choice", choices = STATUS, default = "active", example = "active"},
    },
    rules = {{needs = {"location.latitude", "location.longitude"}, check = check_location}},
    documents = {"siteindexes"},
    indexes = {{collection = "siteindexes", properties = {"name"}}},
  },
  {
    name = "Products", entity = "products", collection = "products", note = "One row for each product.",
    columns = {
      {heading = "Product ID", property = "productID", type = "id", id = true, note = "Leave it empty for a new product."},
      {heading = "Name", property = "name", type = "text", required = true, unique = true, example = "Milk"},
      {heading = "Category", property = "category", type = "text", example = "dairy"},
    },
  },
  {
    name = "SKUs", entity = "skus", collection = "skus", note = "One row for each stock keeping unit.",
    columns = {
      {heading = "SKU ID", property = "skuID", type = "id", id = true, note = "Leave it empty for a new one."},
      {heading = "Name", property = "name", type = "text", required = true, example = "Milk, pack of 6"},
      {heading = "Code", property = "code", type = "text", required = true, unique = true, example = "MILK-6"},
      {heading = "Product", property = "productID", type = "text", required = true, references = {collection = "products", by = "name"},
        example = "Milk"},
    },
  },
  {
    name = "Questionnaires", entity = "questionnaires", collection = "questionnaires", note = "One row for each questionnaire.",
    documents = {"questionnaireindexes"},
    columns = {
      {heading = "Questionnaire ID", property = "questionnaireID", type = "id", id = true, key = true,
        note = "Leave it empty for a new one."},
      {heading = "Title", property = "title", type = "text", required = true, unique = true, example = "Opening checklist"},
      {heading = "Type", property = "type", type = "choice", choices = {"audit", "checklist", "survey"}, default = "checklist",
        example = "checklist"},
      {heading = "Questions", property = "questions", type = "text", lines = true, wrap = "text", max_characters = 1000, required = true,
        note = "One question per line in the cell.", example = "Is the door locked?"},
    },
    collect = collect_questionnaire,
  },
  {
    name = "Schedules", entity = "schedules", collection = "sitescheduleindexes", note = "One row for each schedule.",
    documents = {"schedulestatistics", "skuschedules"},
    columns = {
      {heading = "Schedule ID", property = "scheduleID", type = "id", id = true, note = "Leave it empty for a new schedule."},
      {heading = "Title", property = "title", type = "text", required = true, example = "Morning round"},
      {heading = "Questionnaire", property = "questionnaireID", type = "text", references = {collection = "questionnaires", by = "title"},
        note = "The title of a questionnaire.", example = "Opening checklist"},
      {heading = "Type", property = "type", type = "choice", choices = {"once", "daily", "weekly", "monthly"}, required = true,
        example = "weekly"},
      {heading = "Days", property = "days", type = "text", list = true, note = "weekly: mon, tue, …; monthly: 1 to 31 or last.",
        example = "mon, wed, fri"},
      {heading = "Start Date", property = "startDate", type = "date", required = true, example = "2027-01-04"},
      {heading = "End Date", property = "endDate", type = "date", note = "Needed unless the type is once.", example = "2027-03-31"},
      {heading = "Start Time", property = "startTime", type = "time", required = true, example = "08:00"},
      {heading = "End Time", property = "endTime", type = "time", required = true, example = "17:30"},
      {heading = "Sites", property = "siteIDs", type = "text", list = true, required = true, references = {collection = "sites",
        by = "name"},
        members = {{collection = "siteindexes", property = "scheduleIDs"}}, note = "Names of sites, separated by commas.",
          example = "Lisbon 1"},
      {heading = "Users", property = "userIDs", type = "text", list = true, references = {collection = "users", by = "email"},
        note = "Emails, separated by commas.", example = "ann@example.com"},
      {heading = "Departments", property = "departmentIDs", type = "text", list = true, references = {collection = "departments",
        by = "name"},
        note = "Names of departments, separated by commas.", example = "Operations"},
      {heading = "SKUs", property = "skuIDs", type = "text", list = true, references = {collection = "skus", by = "code", noun = "SKU"},
        note = "Codes, separated by commas.", example = "MILK-6"},
    },
    adjust = adjust_schedule,
    rules = {
      {needs = {"type", "days"}, check = check_days},
      {needs = {"type", "endDate"}, check = check_schedule_end},
      {needs = {"startDate", "endDate"}, check = check_order_of_dates},
      {needs = {"startTime", "endTime"}, check = check_order_of_times},
    },
    reads = {{collection = "firestore:organization-offdays"}, {collection = "siteoffdays", from = "siteIDs"}},
    collect = collect_schedule,
  },
  {
    name = "Issues", entity = "issues", collection = "issues", note = "One row for each issue.",
    columns = {
      {heading = "Issue ID", property = "issueID", type = "id", id = true, note = "Leave it empty for a new issue."},
      {heading = "Title", property = "title", type = "text", required = true, example = "The door does not lock"},
      {heading = "Site", property = "siteID", type = "text", required = true, references = {collection = "sites", by = "name"},
        example = "Lisbon 1"},
      {heading = "Assignee", property = "assigneeID", type = "text", references = {collection = "users", by = "email"},
        note = "Email of a user.",
        example = "ann@example.com"},
      {heading = "Priority", property = "priority", type = "choice", choices = {"low", "medium", "high"}, default = "medium",
        example = "high"},
      {heading = "Status", property = "status", type = "choice", choices = {"open", "resolved"}, default = "open", example = "open"},
      {heading = "Due Date", property = "dueDate", type = "date", example = "2027-01-31"},
    },
  },
  {
    name = "Non-Ops Days", entity = "nonOpsDays", note = "One row for each range of days off.",
    columns = {
      {heading = "Scope", property = "scope", type = "choice", choices = {"organization", "site", "user"}, required = true,
        example = "site"},
      {heading = "Reference", property = "reference", type = "text",
        note = "The name of a site or the email of a user; empty for the organization.",
        references = {when = "scope", {value = "site", collection = "sites", by = "name"}, {value = "user", collection = "users",
          by = "email"}},
        example = "Lisbon 1"},
      {heading = "Start Date", property = "startDate", type = "date", required = true, example = "2027-12-24"},
      {heading = "End Date", property = "endDate", type = "date", note = "The start date if left empty.", example = "2027-12-26"},
      {heading = "Name", property = "name", type = "text", required = true, example = "Holiday"},
    },
    entries = {
      when = "scope", id = "reference", properties = {"startDate", "endDate", "name"},
      collections = {organization = "firestore:organization-offdays", site = "siteoffdays", user = "useroffdays"},
    },
    adjust = adjust_day_off,
    rules = {{needs = {"scope", "reference"}, check = check_reference}, {needs = {"startDate", "endDate"}, check = check_order_of_dates}},
  },
}

return {
  name = "workforce",
  title = "Users, departments, sites, schedules and all that belongs to them",
  version = 1,
  organization = "organizationID",
  collections = collections,
  sheets = sheets,
  order = {
    {group = "user/dept/site", "products", "skus", "sitegroups", "departments", "sites", "users", {"departmentindexes", "roles"},
      "questionnaires"},
    {group = "schedule", "schedules", "siteindexes", "issues"},
    {group = "non-ops", {"firestore:organization-offdays", "siteoffdays", "useroffdays"}},
  },
}
