// The journal on MongoDB in a database of its own: a role that reaches nothing else, and the user of the workers, who has only that role.
//
//   mongosh mongodb://ADMIN@HOST/admin --file examples/journal-role.js        (asks for the worker's password)
//
// Run it as somebody who may make roles and users (userAdmin of that database). Other names: change them here. AON_JOURNAL_URL is then
// mongodb://aon_worker:PASSWORD@HOST/journal?replicaSet=NAME. Ending the sessions of one's own dead workers (killSessions) needs no right.
const database = "journal";
const there = db.getSiblingDB(database);

there.createRole({
  role: "aon_journal",
  privileges: [{
    resource: {db: database, collection: ""},
    actions: ["find", "insert", "update", "remove", "createCollection", "dropCollection", "createIndex", "listCollections", "listIndexes"]
  }],
  roles: []
});
there.createUser({user: "aon_worker", pwd: passwordPrompt(), roles: [{role: "aon_journal", db: database}]});
