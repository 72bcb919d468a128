"""The cases: one rule of the workforce pack each. A case is a function that gets a World; `CASES` lists them by name.

What a case states is written by hand from the specification; what it doesn't state the oracle checks.
"""

import datetime

import compare
import oracle
from world import ABSENT, Differs

CASES = {}
DATE, TIME = datetime.date, datetime.time


def case(function):
    CASES[function.__name__.replace('_', ' ')] = function
    return function


def user(ident, email=None, **columns):
    named = {'Name': f'Name of {ident}', 'Email': email or f'{ident}@example.com', 'Role': 'staff'}
    return dict({'User ID': ident}, **dict(named, **columns))


def department(ident, name=None, **columns):
    return dict({'Department ID': ident, 'Name': name or f'Department {ident}'}, **columns)


def site(ident, name=None, **columns):
    return dict({'Site ID': ident, 'Name': name or f'Site {ident}'}, **columns)


def schedule(ident, **columns):
    usual = {
        'Title': f'Round {ident}',
        'Type': 'daily',
        'Start Date': '2027-01-04',
        'End Date': '2027-01-10',
        'Start Time': '08:00',
        'End Time': '17:30',
        'Sites': 'Site s1',
    }
    return dict({'Schedule ID': ident}, **dict(usual, **columns))


def offday(scope, start, name='Holiday', **columns):
    return dict({'Scope': scope, 'Reference': None, 'Start Date': start, 'End Date': None, 'Name': name}, **columns)


def stored(**properties):
    stamps = {
        'createdAt': '2026-01-02T03:04:05.000Z',
        'createdBy': 'old',
        'updatedAt': '2026-01-02T03:04:05.000Z',
        'updatedBy': 'old',
        '_bulkOperationId': '00000000-0000-4000-8000-000000000000',
    }
    return dict({'organizationID': 'org1'}, **dict(properties, **stamps))


# --- creating and defaults ----------------------------------------------------------------------------------------------------------------


@case
def a_user_makes_all_its_documents(world):
    world.upload(
        {
            'Departments': [department('d1')],
            'Sites': [site('s1')],
            'Users': [
                user('u1', 'Ann@Example.com', Phone='+351912345678', Departments='department D1', Sites='SITE S1', Password='s3cret-0000')
            ],
        },
        counts={'users': '1 0 0', 'departments': '1 0 0', 'sites': '1 0 0'},
        operations=8,
    )
    world.exactly(
        'main/users',
        'u1',
        {
            'userID': 'u1',
            'organizationID': 'org1',
            'name': 'Name of u1',
            'email': 'ann@example.com',
            'phone': '+351912345678',
            'role': 'staff',
            'departmentIDs': ['d1'],
            'siteIDs': ['s1'],
            'language': 'en',
            'status': 'active',
        },
    )
    world.exactly(
        'realtime/firebase:user',
        'u1',
        {
            'name': 'Name of u1',
            'email': 'ann@example.com',
            'role': 'staff',
            'status': 'active',
            'organizationID': 'org1',
            'siteIDs': {'s1': True},
        },
    )
    world.exactly(
        'identity/accounts',
        'u1',
        {
            'uid': 'u1',
            'email': 'ann@example.com',
            'displayName': 'Name of u1',
            'phoneNumber': '+351912345678',
            'disabled': False,
            'hasPassword': True,
        },
    )
    world.exactly('main/roles', 'org1:staff', {'_id': 'org1:staff', 'organizationID': 'org1', 'role': 'staff', 'userIDs': ['u1']})
    world.exactly(
        'main/departmentindexes',
        'd1:org1',
        {'_id': 'd1:org1', 'departmentID': 'd1', 'organizationID': 'org1', 'name': 'Department d1', 'userIDs': ['u1'], 'siteIDs': []},
    )
    world.exactly(
        'main/siteindexes',
        's1',
        {'siteID': 's1', 'organizationID': 'org1', 'name': 'Site s1', 'userIDs': ['u1'], 'departmentIDs': [], 'scheduleIDs': []},
    )
    world.lacks('main/user_extension', 'u1')


@case
def empty_columns_are_absent_and_lists_empty(world):
    world.upload({'Users': [user('u1', Phone=None, Title=None, Departments=None, Sites=None)]})
    world.has('main/users', 'u1', phone=ABSENT, title=ABSENT, departmentIDs=[], siteIDs=[])
    world.exactly(
        'realtime/firebase:user',
        'u1',
        {'name': 'Name of u1', 'email': 'u1@example.com', 'role': 'staff', 'status': 'active', 'organizationID': 'org1'},
    )
    world.exactly('identity/accounts', 'u1', {'uid': 'u1', 'email': 'u1@example.com', 'displayName': 'Name of u1', 'disabled': False})


@case
def an_inactive_user_has_a_disabled_account(world):
    world.upload({'Users': [user('u1', Status='Inactive')]})
    world.has('main/users', 'u1', status='inactive')
    world.has('identity/accounts', 'u1', disabled=True)
    world.upload({'Users': [user('u1', Status='active')]}, counts={'users': '0 1 0'}, operations=3)
    world.has('identity/accounts', 'u1', disabled=False)


@case
def an_empty_id_makes_a_uuid_and_a_given_one_stays(world):
    world.upload(
        {
            'Products': [{'Product ID': None, 'Name': 'One'}, {'Product ID': 'p2', 'Name': 'Two'}],
            'SKUs': [{'SKU ID': None, 'Name': 'Box', 'Code': 'c-1', 'Product': 'one'}],
        },
        counts={'products': '2 0 0', 'skus': '1 0 0'},
        operations=3,
    )
    world.has('main/skus', world.named('skus', 'code', 'c-1'), productID=world.named('products', 'name', 'One'))
    world.has('main/products', 'p2', name='Two', category=ABSENT)


@case
def questions_one_per_line(world):
    world.upload(
        {'Questionnaires': [{'Questionnaire ID': 'q1', 'Title': 'Opening', 'Type': None, 'Questions': ' Lights on? \n\nDoor shut?\n'}]},
        operations=4,
    )
    questions = [{'text': 'Lights on?'}, {'text': 'Door shut?'}]
    world.has('main/questionnaires', 'q1', type='checklist', questions=questions)
    world.exactly(
        'main/questionnaireindexes',
        'q1',
        {'questionnaireIndexID': 'q1', 'organizationID': 'org1', 'title': 'Opening', 'type': 'checklist', 'questionCount': 2},
    )
    world.exactly(
        'realtime/firebase:questionnaire',
        'org1:q1',
        {'questionnaireID': 'q1', 'title': 'Opening', 'type': 'checklist', 'questions': questions},
    )
    world.exactly(
        'realtime/firebase:questionnaireIndex',
        'org1:q1',
        {'questionnaireIndexID': 'q1', 'title': 'Opening', 'type': 'checklist', 'questionCount': 2},
    )


@case
def issues_have_defaults(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Users': [user('u1')],
            'Issues': [{'Issue ID': 'i1', 'Title': 'Door', 'Site': 'Site s1', 'Assignee': 'U1@EXAMPLE.COM', 'Due Date': DATE(2027, 1, 4)}],
        }
    )
    world.exactly(
        'main/issues',
        'i1',
        {
            'issueID': 'i1',
            'organizationID': 'org1',
            'title': 'Door',
            'siteID': 's1',
            'assigneeID': 'u1',
            'priority': 'medium',
            'status': 'open',
            'dueDate': '2027-01-04',
        },
    )


# --- CLEAR --------------------------------------------------------------------------------------------------------------------------------


@case
def clear_on_create_is_an_empty_cell(world):
    world.upload({'Users': [user('u1', Phone='CLEAR', Language='CLEAR', Departments='CLEAR')]})
    world.has('main/users', 'u1', phone=ABSENT, language='en', departmentIDs=[])


@case
def clear_in_a_required_cell(world):
    world.upload({'Users': [user('u1', Name='CLEAR')]}, ['Users!B2 required'])
    world.upload({'Users': [user('u1')]})
    world.upload({'Users': [user('u1', Name='CLEAR', Role='CLEAR')]}, ['Users!B2 required', 'Users!D2 required'])


@case
def clear_takes_a_property_or_gives_the_default_back(world):
    world.upload(
        {
            'Departments': [department('d1', Code='D1', Email='d@example.com', Status='inactive')],
            'Users': [user('u1', Phone='+351912345678', Title='Lead', Language='ja', Status='inactive', Departments='Department d1')],
        }
    )
    world.upload(
        {
            'Departments': [department('d1', Code='CLEAR', Email='CLEAR', Status='CLEAR')],
            'Users': [user('u1', Phone='CLEAR', Title='CLEAR', Language='CLEAR', Status='CLEAR', Departments='CLEAR')],
        },
        counts={'users': '0 1 0', 'departments': '0 1 0'},
        operations=5,
    )
    world.has('main/departments', 'd1', code=ABSENT, email=ABSENT, status='active')
    world.has('main/users', 'u1', phone=ABSENT, title=ABSENT, language='en', status='active', departmentIDs=[])
    world.has('main/departmentindexes', 'd1:org1', userIDs=[])
    world.has('identity/accounts', 'u1', phoneNumber=ABSENT, disabled=False)


@case
def clear_in_lower_case_is_text(world):
    world.upload({'Users': [user('u1', Title='clear')]})
    world.has('main/users', 'u1', title='clear')


@case
def clear_of_all_its_columns_removes_the_extension(world):
    world.upload({'Users': [user('u1', **{'Employee Number': 'E1', 'Hire Date': DATE(2024, 2, 29)})]})
    world.exactly('main/user_extension', 'u1', {'userID': 'u1', 'organizationID': 'org1', 'employeeNumber': 'E1', 'hireDate': '2024-02-29'})
    world.upload({'Users': [user('u1', **{'Employee Number': 'CLEAR', 'Hire Date': None})]}, counts={'users': '0 1 0'}, operations=1)
    world.has('main/user_extension', 'u1', employeeNumber=ABSENT, hireDate='2024-02-29')
    world.upload({'Users': [user('u1', **{'Employee Number': None, 'Hire Date': 'CLEAR'})]}, counts={'users': '0 1 0'}, operations=1)
    world.lacks('main/user_extension', 'u1')
    world.upload({'Users': [user('u1', **{'Employee Number': 'CLEAR', 'Hire Date': 'CLEAR'})]}, counts={'users': '0 0 1'}, operations=0)


@case
def clear_of_skus_removes_their_document(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Products': [{'Product ID': 'p1', 'Name': 'Milk'}],
            'SKUs': [
                {'SKU ID': 'k1', 'Name': 'Box', 'Code': 'A', 'Product': 'Milk'},
                {'SKU ID': 'k2', 'Name': 'Can', 'Code': 'B', 'Product': 'Milk'},
            ],
            'Schedules': [schedule('c1', SKUs='b, A')],
        }
    )
    world.exactly('main/skuschedules', 'c1', {'scheduleID': 'c1', 'organizationID': 'org1', 'skuIDs': ['k2', 'k1']})
    world.upload({'Schedules': [schedule('c1', SKUs='CLEAR')]}, counts={'schedules': '0 1 0'}, operations=2)
    world.lacks('main/skuschedules', 'c1')
    world.has('main/sitescheduleindexes', 'c1', skuIDs=[])


@case
def clear_of_both_coordinates_removes_the_location(world):
    world.upload({'Sites': [site('s1', Latitude=38.7223, Longitude=-9.1393)]})
    world.has('main/sites', 's1', location={'latitude': 38.7223, 'longitude': -9.1393})
    world.upload({'Sites': [site('s1', Latitude='CLEAR', Longitude=None)]}, ['Sites!C2 required'])
    world.upload({'Sites': [site('s1', Latitude=40, Longitude=None)]}, counts={'sites': '0 1 0'}, operations=1)
    world.has('main/sites', 's1', location={'latitude': 40, 'longitude': -9.1393})
    world.upload({'Sites': [site('s1', Latitude='CLEAR', Longitude='CLEAR')]}, operations=1)
    world.has('main/sites', 's1', location=ABSENT)


@case
def clear_takes_references_places_and_dates(world):
    world.upload(
        {
            'Sites': [site('s1', Code='C', Address='A', City='B', Country='PT', **{'Time Zone': 'Europe/Lisbon'})],
            'Users': [user('u1')],
            'Departments': [department('d1')],
            'Products': [{'Product ID': 'p1', 'Name': 'Milk', 'Category': 'dairy'}],
            'Questionnaires': [{'Questionnaire ID': 'q1', 'Title': 'Q', 'Type': 'audit', 'Questions': 'A?'}],
            'Schedules': [schedule('c1', Type='once', Questionnaire='Q', Users='u1@example.com', Departments='Department d1')],
            'Issues': [
                {
                    'Issue ID': 'i1',
                    'Title': 'I',
                    'Site': 'Site s1',
                    'Assignee': 'u1@example.com',
                    'Priority': 'high',
                    'Status': 'resolved',
                    'Due Date': '2027-01-04',
                }
            ],
        }
    )
    world.upload(
        {
            'Sites': [site('s1', Code='CLEAR', Address='CLEAR', City='CLEAR', Country='CLEAR', **{'Time Zone': 'CLEAR'})],
            'Products': [{'Product ID': 'p1', 'Name': 'Milk', 'Category': 'CLEAR'}],
            'Questionnaires': [{'Questionnaire ID': 'q1', 'Title': 'Q', 'Type': 'CLEAR', 'Questions': None}],
            'Schedules': [schedule('c1', Type='once', Questionnaire='CLEAR', Users='CLEAR', Departments='CLEAR', **{'End Date': 'CLEAR'})],
            'Issues': [
                {
                    'Issue ID': 'i1',
                    'Title': 'I',
                    'Site': None,
                    'Assignee': 'CLEAR',
                    'Priority': 'CLEAR',
                    'Status': 'CLEAR',
                    'Due Date': 'CLEAR',
                }
            ],
        },
        counts={'sites': '0 1 0', 'products': '0 1 0', 'questionnaires': '0 1 0', 'schedules': '0 1 0', 'issues': '0 1 0'},
        operations=8,
    )
    world.has('main/sites', 's1', code=ABSENT, address=ABSENT, city=ABSENT, country=ABSENT, timeZone=ABSENT, status='active')
    world.has('main/products', 'p1', category=ABSENT)
    world.has('realtime/firebase:questionnaire', 'org1:q1', type='checklist', questions=[{'text': 'A?'}])
    world.has('main/sitescheduleindexes', 'c1', questionnaireID=ABSENT, userIDs=[], departmentIDs=[], endDate=ABSENT)
    world.has('main/issues', 'i1', assigneeID=ABSENT, priority='medium', status='open', dueDate=ABSENT, siteID='s1')


@case
def clear_in_a_required_reference_or_list(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Products': [{'Product ID': 'p1', 'Name': 'Milk'}],
            'SKUs': [{'SKU ID': 'k1', 'Name': 'Box', 'Code': 'A', 'Product': 'Milk'}],
            'Schedules': [schedule('c1')],
            'Issues': [{'Issue ID': 'i1', 'Title': 'I', 'Site': 'Site s1'}],
        }
    )
    world.upload(
        {
            'SKUs': [{'SKU ID': 'k1', 'Name': 'Box', 'Code': 'CLEAR', 'Product': 'CLEAR'}],
            'Issues': [{'Issue ID': 'i1', 'Title': 'I', 'Site': 'CLEAR'}],
            'Schedules': [schedule('c1', Sites='CLEAR', **{'End Date': 'CLEAR'})],
        },
        ['SKUs!C2 required', 'SKUs!D2 required', 'Issues!C2 required', 'Schedules!H2 required', 'Schedules!E2 required'],
    )


# --- updating -----------------------------------------------------------------------------------------------------------------------------


@case
def an_empty_cell_leaves_the_property(world):
    world.upload({'Users': [user('u1', Phone='+351912345678', Title='Lead', Language='ja')]})
    world.upload(
        {'Users': [{'User ID': 'u1', 'Name': None, 'Email': None, 'Role': None, 'Title': 'Cook', 'Phone': None}]},
        counts={'users': '0 1 0'},
        operations=1,
    )
    world.has('main/users', 'u1', name='Name of u1', phone='+351912345678', title='Cook', language='ja', role='staff')


@case
def other_properties_and_creation_stamps_stay(world):
    world.seed({'main/products': {'p1': stored(productID='p1', name='Milk', colour={'rgb': [1, 2, 3]}, price=1.5)}})
    world.upload({'Products': [{'Product ID': 'p1', 'Name': 'Cream'}]}, counts={'products': '0 1 0'}, operations=1)
    world.has(
        'main/products',
        'p1',
        name='Cream',
        colour={'rgb': [1, 2, 3]},
        price=1.5,
        createdAt='2026-01-02T03:04:05.000Z',
        createdBy='old',
        updatedBy='tester',
    )


@case
def the_same_again_makes_no_operation(world):
    sheets = {
        'Departments': [department('d1')],
        'Sites': [site('s1', Departments='Department d1', **{'Site Group': 'North', 'Latitude': 1, 'Longitude': 2})],
        'Users': [user('u1', 'Ann@Example.com', Departments='Department d1', Sites='Site s1', Status='ACTIVE')],
        'Questionnaires': [{'Questionnaire ID': 'q1', 'Title': 'T', 'Questions': 'A?'}],
        'Schedules': [schedule('c1', Questionnaire='t', Users='ANN@example.com')],
        'Non-Ops Days': [offday('organization', '2027-01-05')],
    }
    world.upload(sheets)
    world.upload(
        sheets,
        operations=0,
        counts={
            'departments': '0 0 1',
            'sites': '0 0 1',
            'users': '0 0 1',
            'questionnaires': '0 0 1',
            'schedules': '0 0 1',
            'nonOpsDays': '0 0 1',
        },
    )


@case
def a_list_keeps_its_order(world):
    world.upload(
        {
            'Departments': [department('d1'), department('d2')],
            'Users': [user('u1', Departments='Department d2; Department d1,,Department D2')],
        }
    )
    world.has('main/users', 'u1', departmentIDs=['d2', 'd1'])
    world.upload({'Users': [user('u1', Departments='Department d1, Department d2')]}, counts={'users': '0 1 0'}, operations=1)
    world.has('main/users', 'u1', departmentIDs=['d1', 'd2'])


@case
def a_filled_list_replaces_the_list_and_moves_the_indexes(world):
    world.upload(
        {
            'Departments': [department(f'd{i}') for i in (1, 2, 3)],
            'Sites': [site('s1', Departments='Department d1')],
            'Users': [user('u1', Departments='Department d1, Department d2', Sites='Site s1')],
        }
    )
    world.upload(
        {
            'Sites': [site('s1', Departments='Department d3')],
            'Users': [user('u1', Departments='Department d2, Department d3', Sites='CLEAR')],
        },
        counts={'users': '0 1 0', 'sites': '0 1 0'},
        operations=6,
    )
    world.has('main/departmentindexes', 'd1:org1', userIDs=[], siteIDs=[])
    world.has('main/departmentindexes', 'd2:org1', userIDs=['u1'])
    world.has('main/departmentindexes', 'd3:org1', userIDs=['u1'], siteIDs=['s1'])
    world.has('main/siteindexes', 's1', userIDs=[], departmentIDs=['d3'])
    world.has('realtime/firebase:user', 'u1', siteIDs=ABSENT)


@case
def a_renamed_department_renames_its_index(world):
    world.upload({'Departments': [department('d1', 'Old')], 'Users': [user('u1', Departments='Old')]})
    world.upload({'Departments': [department('d1', 'New')]}, counts={'departments': '0 1 0'}, operations=2)
    world.has('main/departmentindexes', 'd1:org1', name='New', userIDs=['u1'])


@case
def a_renamed_site_renames_its_index(world):
    world.upload({'Sites': [site('s1', 'Old')], 'Users': [user('u1', Sites='Old')]})
    world.upload({'Sites': [site('s1', 'New')]}, counts={'sites': '0 1 0'}, operations=2)
    world.has('main/siteindexes', 's1', name='New', userIDs=['u1'])


@case
def a_role_moves_and_its_document_stays_empty(world):
    world.upload({'Users': [user('u1', Role='admin'), user('u2')]})
    world.upload({'Users': [user('u1', Role='Manager')]}, counts={'users': '0 1 0'}, operations=4)
    world.has('main/roles', 'org1:admin', userIDs=[])
    world.has('main/roles', 'org1:manager', userIDs=['u1'], role='manager')
    world.has('main/roles', 'org1:staff', userIDs=['u2'])


@case
def site_groups_are_made_shared_left_and_kept(world):
    world.upload({'Sites': [site('s1', **{'Site Group': 'North'}), site('s2', **{'Site Group': 'NORTH'}), site('s3')]}, operations=7)
    north = world.named('sitegroups', 'name', 'North')
    world.has('main/sitegroups', north, _id=north, siteIDs=['s1', 's2'])
    world.has('main/sites', 's2', siteGroupID=north, siteGroup=ABSENT)
    world.upload(
        {'Sites': [site('s1', **{'Site Group': 'CLEAR'}), site('s2', **{'Site Group': 'South'}), site('s3', **{'Site Group': 'north'})]},
        operations=5,
    )
    world.has('main/sitegroups', north, siteIDs=['s3'])
    world.has('main/sites', 's1', siteGroupID=ABSENT)
    world.upload({'Sites': [site('s3', **{'Site Group': 'South'})]}, operations=3)
    world.has('main/sitegroups', north, siteIDs=[])


@case
def a_password_counts_on_create_only(world):
    world.upload({'Users': [user('u1', Password='7 chars')]}, ['Users!E2 out_of_range'])
    world.silent_about('7 chars')
    world.upload({'Users': [user('u1', Password='8 chars!'), user('u2')]})
    world.has('identity/accounts', 'u1', hasPassword=True)
    world.has('identity/accounts', 'u2', hasPassword=ABSENT)
    world.upload(
        {'Users': [user('u1', Password='short'), user('u2', Password='long enough')]},
        warnings=['Users!E2 ignored', 'Users!E3 ignored'],
        counts={'users': '0 0 2'},
        operations=0,
    )
    world.silent_about('long enough')
    world.has('identity/accounts', 'u2', hasPassword=ABSENT)


@case
def a_changed_email_goes_everywhere(world):
    world.upload({'Users': [user('u1', 'a@example.com')]})
    world.upload({'Users': [user('u1', 'B@example.com')]}, counts={'users': '0 1 0'}, operations=3)
    for path in ('main/users', 'realtime/firebase:user', 'identity/accounts'):
        world.has(path, 'u1', email='b@example.com')


# --- ids ----------------------------------------------------------------------------------------------------------------------------------


@case
def ids_of_another_organization_are_duplicates(world):
    other = {
        'Departments': [department('d1')],
        'Sites': [site('s1')],
        'Users': [user('u1', 'other@example.com')],
        'Products': [{'Product ID': 'p1', 'Name': 'P'}],
        'SKUs': [{'SKU ID': 'k1', 'Name': 'K', 'Code': 'K', 'Product': 'P'}],
        'Questionnaires': [{'Questionnaire ID': 'q1', 'Title': 'Q', 'Questions': 'A?'}],
        'Schedules': [schedule('c1')],
        'Issues': [{'Issue ID': 'i1', 'Title': 'I', 'Site': 'Site s1'}],
    }
    world.upload(other, org='org2')
    mine = dict(other, Users=[user('u1', 'mine@example.com')])
    world.upload(mine, [f'{sheet}!A2 duplicate' for sheet in mine])
    if world.aon and any('org2' in str(error) or 'other@' in str(error) for error in world.result['errors']):
        raise Differs('an error says who holds the id')


@case
def an_account_of_another_organization_has_the_email(world):
    world.upload({'Users': [user('u1', 'ann@example.com')]}, org='org2')
    world.upload({'Users': [user('u9', 'ANN@example.com')]}, ['Users!C2 duplicate'])
    world.upload({'Users': [user('u9', 'ben@example.com')]}, counts={'users': '1 0 0'})


@case
def names_of_another_organization_are_nobodys(world):
    world.upload({'Departments': [department('d1', 'Kitchen')]}, org='org2')
    world.upload({'Users': [user('u1', Departments='Kitchen')]}, ['Users!E2 not_found'])
    world.upload({'Departments': [department('d2', 'Kitchen')], 'Users': [user('u1', Departments='Kitchen')]})
    world.has('main/departmentindexes', 'd2:org1', userIDs=['u1'])
    world.has('main/departmentindexes', 'd1:org2', userIDs=[])


@case
def an_id_twice_in_a_sheet(world):
    world.upload(
        {'Products': [{'Product ID': 'p1', 'Name': 'A'}, {'Product ID': 'p2', 'Name': 'B'}, {'Product ID': 'p1', 'Name': 'C'}]},
        ['Products!A4 duplicate'],
    )
    world.says('duplicate', 'A2')


@case
def characters_that_no_key_can_hold(world):
    bad = '.$#[]/'
    world.upload(
        {
            'Users': [user(f'u{c}1', f'u{i}@example.com') for i, c in enumerate(bad)],
            'Sites': [site('s.1')],
            'Questionnaires': [{'Questionnaire ID': 'q/1', 'Title': 'Q', 'Questions': 'A?'}],
        },
        [f'Users!A{i + 2} forbidden_character' for i in range(len(bad))]
        + ['Sites!A2 forbidden_character', 'Questionnaires!A2 forbidden_character'],
    )


@case
def other_ids_may_hold_them(world):
    world.upload({'Departments': [department('d.1/x#$')], 'Products': [{'Product ID': 'p[1]', 'Name': 'P'}]})
    world.has('main/departments', 'd.1/x#$', departmentID='d.1/x#$')
    world.has('main/departmentindexes', 'd.1/x#$:org1')


@case
def parts_of_composite_ids_are_encoded(world):
    world.upload(
        {
            'Departments': [department('a:b%')],
            'Users': [user('u:1', email='u1@example.com', Departments='Department a:b%')],
            'Questionnaires': [{'Questionnaire ID': 'q%1', 'Title': 'Q', 'Questions': 'A?'}],
            'Non-Ops Days': [offday('user', '2027-01-04', Reference='u1@example.com')],
        }
    )
    world.has('main/departmentindexes', 'a%3Ab%25:org1', _id='a%3Ab%25:org1', departmentID='a:b%', userIDs=['u:1'])
    world.has('main/users', 'u:1', departmentIDs=['a:b%'])
    world.has('realtime/firebase:questionnaire', 'org1:q%251', questionnaireID='q%1')
    world.has('main/useroffdays', 'org1:u%3A1', userID='u:1')


@case
def ids_have_a_length(world):
    world.upload({'Products': [{'Product ID': 'p' * 128, 'Name': 'A'}, {'Product ID': 'p' * 129, 'Name': 'B'}]}, ['Products!A3 too_long'])


@case
def an_id_may_be_a_number(world):
    world.upload({'Products': [{'Product ID': 17, 'Name': 'A'}]})
    world.upload({'Products': [{'Product ID': '17', 'Name': 'A'}]}, counts={'products': '0 0 1'}, operations=0)
    world.has('main/products', '17', productID='17')


@case
def organizations_that_no_path_can_hold(world):
    path = world.book({'Products': [{'Product ID': 'p1', 'Name': 'A'}]})
    for org in ('a/b', '.', '..', '__x__', 'a.b', 'a$b', 'a#b', 'a[b', 'a]b') if world.aon else ():
        status, result, stderr = compare.run(world.aon, path, world.data, org)
        if status != 1 or not stderr.strip() or any(world.data.glob('main.db')):
            raise Differs(f'organization {org}: exit status {status}, {stderr!r}')


# --- unique -------------------------------------------------------------------------------------------------------------------------------


@case
def unique_in_the_sheet(world):
    world.upload(
        {
            'Departments': [department('d1', 'Kitchen'), department('d2', 'KITCHEN')],
            'SKUs': [],
            'Users': [user('u1', 'a@example.com'), user('u2', 'A@EXAMPLE.COM')],
        },
        ['Departments!B3 duplicate', 'Users!C3 duplicate'],
    )
    world.says('duplicate', 'B2')


@case
def unique_in_each_sheet_that_says_so(world):
    world.upload(
        {
            'Sites': [site('s1', 'Here'), site('s2', 'Here')],
            'Products': [{'Product ID': 'p1', 'Name': 'Milk'}, {'Product ID': 'p2', 'Name': 'Bread'}, {'Product ID': 'p3', 'Name': 'Bread'}],
            'SKUs': [{'SKU ID': ident, 'Name': 'Box', 'Code': 'A', 'Product': 'Milk'} for ident in ('k1', 'k2')],
            'Questionnaires': [{'Questionnaire ID': ident, 'Title': 'Round', 'Questions': 'Open?'} for ident in ('q1', 'q2')],
        },
        ['Sites!B3 duplicate', 'Products!B4 duplicate', 'SKUs!C3 duplicate', 'Questionnaires!B3 duplicate'],
    )


@case
def required_in_each_sheet(world):
    world.upload(
        {
            'Users': [{'User ID': 'u1', 'Name': None, 'Email': None, 'Role': None}],
            'Departments': [{'Department ID': 'd1', 'Name': None}],
            'Sites': [{'Site ID': 's1', 'Name': None}],
            'Products': [{'Product ID': 'p1', 'Name': None}],
            'SKUs': [{'SKU ID': 'k1', 'Name': None, 'Code': None, 'Product': None}],
            'Questionnaires': [{'Questionnaire ID': 'q1', 'Title': None, 'Questions': None}],
            'Issues': [{'Issue ID': 'i1', 'Title': None, 'Site': None}],
        },
        [
            *(f'Users!{column}2 required' for column in 'BCD'),
            *(f'{sheet}!B2 required' for sheet in ('Departments', 'Sites', 'Products')),
            *(f'SKUs!{column}2 required' for column in 'BCD'),
            *(f'Questionnaires!{column}2 required' for column in 'BC'),
            *(f'Issues!{column}2 required' for column in 'BC'),
        ],
    )


@case
def unique_against_the_store(world):
    world.upload({'Departments': [department('d1', 'Kitchen')], 'Users': [user('u1')]})
    world.upload(
        {'Departments': [department('d2', 'kitchen')], 'Users': [user('u2', 'U1@example.com')]},
        ['Departments!B2 duplicate', 'Users!C2 duplicate'],
    )


@case
def unique_against_a_document_that_this_upload_renames(world):
    world.upload({'Departments': [department('d1', 'Kitchen')], 'Users': [user('u1', 'a@example.com')]})
    world.upload(
        {
            'Departments': [department('d2', 'Kitchen'), department('d1', 'Bar')],
            'Users': [user('u2', 'a@example.com'), user('u1', 'b@example.com')],
        },
        counts={'departments': '1 1 0', 'users': '1 1 0'},
    )
    world.has('main/departments', 'd2', name='Kitchen')
    world.has('identity/accounts', 'u2', email='a@example.com')


@case
def two_swap_their_names(world):
    world.upload(
        {
            'Sites': [site('s1', 'East'), site('s2', 'West')],
            'Users': [user('u1', 'a@example.com', Sites='East'), user('u2', 'b@example.com')],
        }
    )
    world.upload(
        {
            'Sites': [site('s1', 'West'), site('s2', 'East')],
            'Users': [user('u1', 'b@example.com'), user('u2', 'a@example.com', Sites='East')],
        },
        counts={'sites': '0 2 0', 'users': '0 2 0'},
    )
    world.has('main/siteindexes', 's1', name='West', userIDs=['u1'])
    world.has('main/siteindexes', 's2', name='East', userIDs=['u2'])
    world.has('main/users', 'u1', email='b@example.com')


@case
def names_of_users_and_titles_of_schedules_may_repeat(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Users': [user('u1', Name='Ann'), user('u2', Name='Ann')],
            'Schedules': [schedule('c1', Title='R'), schedule('c2', Title='R')],
        }
    )


@case
def names_fold_as_unicode_does(world):
    world.upload(
        {
            'Departments': [
                department('d1', 'Straße'),
                department('d2', 'STRASSE'),
                department('d3', 'Cafe\u0301'),
                department('d4', 'CAFÉ'),
            ]
        },
        ['Departments!B3 duplicate', 'Departments!B5 duplicate'],
    )
    world.upload(
        {
            'Departments': [department('d1', 'Straße'), department('d3', 'Café'), department('d4', 'ΟΔΟΣ')],
            'Users': [user('u1', Departments='STRASSE; CAFE\u0301; οδος')],
        }
    )
    world.has('main/users', 'u1', departmentIDs=['d1', 'd3', 'd4'])


# --- references ---------------------------------------------------------------------------------------------------------------------------


@case
def references_to_the_store(world):
    world.upload({'Departments': [department('d1', 'Kitchen')], 'Sites': [site('s1')]})
    world.upload({'Users': [user('u1', Departments='kitchen', Sites='site s1')]}, counts={'users': '1 0 0'}, operations=6)
    world.has('main/departmentindexes', 'd1:org1', name='Kitchen', userIDs=['u1'])


@case
def references_see_names_as_they_will_be(world):
    world.upload({'Departments': [department('d1', 'Old'), department('d2', 'Same')]})
    world.upload({'Departments': [department('d1', 'New')], 'Users': [user('u1', Departments='Old')]}, ['Users!E2 not_found'])
    world.upload(
        {
            'Departments': [department('d1', 'New'), {'Department ID': 'd2', 'Name': None, 'Code': 'X'}],
            'Users': [user('u1', Departments='new, Same')],
        }
    )
    world.has('main/users', 'u1', departmentIDs=['d1', 'd2'])


@case
def references_to_a_changed_email_and_code(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Users': [user('u1', 'old@example.com')],
            'Products': [{'Product ID': 'p1', 'Name': 'Milk'}],
            'SKUs': [{'SKU ID': 'k1', 'Name': 'Box', 'Code': 'OLD', 'Product': 'Milk'}],
        }
    )
    changed = {'Users': [user('u1', 'new@example.com')], 'SKUs': [{'SKU ID': 'k1', 'Name': None, 'Code': 'NEW', 'Product': None}]}
    world.upload(
        dict(changed, Schedules=[schedule('c1', Users='old@example.com', SKUs='OLD')]), ['Schedules!I2 not_found', 'Schedules!J2 not_found']
    )
    world.upload(
        dict(changed, Schedules=[schedule('c1', Users='NEW@example.com', SKUs='new')]),
        counts={'users': '0 1 0', 'skus': '0 1 0', 'schedules': '1 0 0'},
    )
    world.has('main/sitescheduleindexes', 'c1', userIDs=['u1'], skuIDs=['k1'])


@case
def a_name_twice_in_the_store_is_ambiguous(world):
    world.seed(
        {
            'main/departments': {
                i: stored(departmentID=i, name=n, status='active') for i, n in (('d1', 'Kitchen'), ('d2', 'KITCHEN'), ('d3', 'Bar'))
            },
            'main/sitegroups': {i: stored(_id=i, name='North', siteIDs=[]) for i in ('g1', 'g2')},
        }
    )
    world.upload(
        {'Users': [user('u1', Departments='Bar, kitchen')], 'Sites': [site('s1', **{'Site Group': 'north'})]},
        ['Users!E2 ambiguous', 'Sites!C2 ambiguous'],
    )


@case
def a_list_names_all_its_bad_entries(world):
    world.upload(
        {'Departments': [department('d1', 'Kitchen')], 'Users': [user('u1', Departments='Kitchen, Attic, Cellar')]}, ['Users!E2 not_found']
    )
    world.says('not_found', 'Attic', 'Cellar')


@case
def a_faulty_row_is_not_reported_again_where_it_is_referred_to(world):
    world.upload(
        {
            'Departments': [department('d1', 'Kitchen'), department('d2', 'Kitchen'), department('d3', 'Bar', Email='no address')],
            'Users': [user('u1', Departments='Kitchen, Bar')],
        },
        ['Departments!B3 duplicate', 'Departments!C4 bad_format'],
    )


@case
def one_error_per_cell(world):
    world.upload(
        {'Users': [user('u1', 'a@example.com'), user('u2', 'a@example', Role=None), user('u1', 'A@example.com')]},
        ['Users!C3 bad_format', 'Users!D3 required', 'Users!A4 duplicate', 'Users!C4 duplicate'],
    )


# --- forms of values ----------------------------------------------------------------------------------------------------------------------


@case
def emails(world):
    bad = ['plain', 'a@', '@example.com', 'a b@example.com', 'a@b@example.com']
    world.upload({'Users': [user(f'u{i}', text) for i, text in enumerate(bad)]}, [f'Users!C{i + 2} bad_format' for i in range(len(bad))])


@case
def phones(world):
    bad = ['12 34', '351912345678', '+0912345678', '+1234567890123456', 'none', 351912345678]
    world.upload(
        {'Users': [user(f'u{i}', Phone=text) for i, text in enumerate(bad)]}, [f'Users!E{i + 2} bad_format' for i in range(len(bad))]
    )
    world.upload({'Users': [user('u1', Phone='+123456789012345')]})


@case
def language_tags(world):
    tags = {'EN': 'en', 'pt-pt': 'pt-PT', 'ZH-hant-tw': 'zh-Hant-TW', 'de-ch-1901': 'de-CH-1901', 'es-419': 'es-419', 'sr-latn': 'sr-Latn'}
    world.upload({'Users': [user(f'u{i}', Language=tag) for i, tag in enumerate(tags)]})
    for number, tag in enumerate(tags.values()):
        world.has('main/users', f'u{number}', language=tag)
    bad = ['e', 'not a tag', 'en_GB', 'en-', '12', 'en-toolongsubtag']
    world.upload(
        {'Users': [user(f'v{i}', Language=tag) for i, tag in enumerate(bad)]}, [f'Users!E{i + 2} bad_format' for i in range(len(bad))]
    )


@case
def countries_and_time_zones(world):
    world.upload({'Sites': [site('s1', Country='pt', **{'Time Zone': 'EUROPE/lisbon'})]})
    world.has('main/sites', 's1', country='PT', timeZone='Europe/Lisbon')
    world.upload(
        {'Sites': [site('s1', Country='Portugal', **{'Time Zone': 'Mars/Olympus'}), site('s2', Country='ZZ'), site('s3', Country='P1')]},
        ['Sites!C2 bad_format', 'Sites!D2 not_allowed', 'Sites!C3 not_allowed', 'Sites!C4 bad_format'],
    )


@case
def allowed_words(world):
    world.upload({'Users': [user('u1', Role='boss', Status='asleep')]}, ['Users!D2 not_allowed', 'Users!E2 not_allowed'])
    world.says('not_allowed', 'supervisor')
    world.upload({'Users': [user('u1', Role=' SUPERVISOR ')]})
    world.has('main/users', 'u1', role='supervisor')


@case
def numbers(world):
    world.upload({'Sites': [site('s1', Latitude='38.5', Longitude='-9')]})
    world.has('main/sites', 's1', location={'latitude': 38.5, 'longitude': -9})
    world.upload(
        {
            'Sites': [
                site('s1', Latitude=90.01, Longitude=-180.5),
                site('s2', Latitude='1,5', Longitude=True),
                site('s3', Latitude='north', Longitude='#N/A'),
            ]
        },
        [
            'Sites!C2 out_of_range',
            'Sites!D2 out_of_range',
            'Sites!C3 bad_type',
            'Sites!D3 bad_type',
            'Sites!C4 bad_type',
            'Sites!D4 bad_type',
        ],
    )
    world.upload({'Sites': [site('s4', Latitude=-90, Longitude=180)]})


@case
def half_a_location(world):
    world.upload(
        {
            'Sites': [
                site('s1', Latitude=1, Longitude=None),
                site('s2', Latitude=None, Longitude=1),
                site('s3', Latitude=100, Longitude=None),
            ]
        },
        ['Sites!D2 required', 'Sites!C3 required', 'Sites!C4 out_of_range'],
    )


@case
def cells_of_other_types_in_text_columns(world):
    cells = {
        'a': (17, '17'),
        'b': (2.50, '2.5'),
        'c': (True, 'TRUE'),
        'd': (DATE(2027, 1, 5), '2027-01-05'),
        'e': (0.1, '0.1'),
        'f': (1e20, '100000000000000000000'),
        'g': ('  padded  ', 'padded'),
    }
    world.upload({'Products': [{'Product ID': i, 'Name': f'P{i}', 'Category': value} for i, (value, text) in cells.items()]})
    for ident, (value, text) in cells.items():
        world.has('main/products', ident, category=text)


@case
def error_cells(world):
    world.upload(
        {'Products': [{'Product ID': 'p1', 'Name': '#N/A', 'Category': '#DIV/0!'}]}, ['Products!B2 bad_type', 'Products!C2 bad_type']
    )


@case
def dates(world):
    world.upload({'Users': [user('u1', **{'Hire Date': DATE(2024, 2, 29)}), user('u2', **{'Hire Date': '2024-02-29'})]})
    world.has('main/user_extension', 'u1', hireDate='2024-02-29', employeeNumber=ABSENT)
    world.has('main/user_extension', 'u2', hireDate='2024-02-29')
    bad = ['2023-02-29', '29.02.2024', '2024-2-9', datetime.datetime(2024, 2, 29, 8, 30), 'soon', 45000, '2024-13-01']
    world.upload(
        {'Users': [user(f'v{i}', **{'Hire Date': value}) for i, value in enumerate(bad)]},
        [f'Users!E{i + 2} bad_format' for i in range(len(bad))],
    )


@case
def times(world):
    world.upload({'Sites': [site('s1')], 'Schedules': [schedule('c1', **{'Start Time': TIME(7, 5), 'End Time': '23:59'})]})
    world.has('main/sitescheduleindexes', 'c1', startTime='07:05', endTime='23:59')
    bad = ['8:00', '24:00', '08:60', '8am', DATE(2027, 1, 1)]
    world.upload(
        {'Schedules': [schedule(f'x{i}', **{'Start Time': value}) for i, value in enumerate(bad)]},
        [f'Schedules!F{i + 2} bad_format' for i in range(len(bad))],
    )


@case
def too_long(world):
    world.upload(
        {
            'Sites': [site('s1', 'é' * 200, Address='a' * 1000, City='c' * 201), site('s2', 'n' * 201, Address='a' * 1001)],
            'Questionnaires': [
                {'Questionnaire ID': 'q1', 'Title': 'T', 'Questions': 'q' * 1000 + '\n' + 'r' * 1000},
                {'Questionnaire ID': 'q2', 'Title': 'U', 'Questions': 'q\n' + 'r' * 1001},
            ],
        },
        ['Sites!D2 too_long', 'Sites!B3 too_long', 'Sites!C3 too_long', 'Questionnaires!C3 too_long'],
    )


# Each rule that a column has for itself, broken once: by sheet a good row, and the cells that are wrong one by one.
LONG, NOWHERE = 'x' * 201, 'Nowhere'
EACH = {
    'Users': (
        dict(user(None, None), Sites=None),
        [
            ('User ID', 'a.b', 'forbidden_character'),
            ('User ID', 'x' * 129, 'too_long'),
            ('Name', None, 'required'),
            ('Name', LONG, 'too_long'),
            ('Email', None, 'required'),
            ('Email', 'nobody', 'bad_format'),
            ('Email', 'first@example.com', 'duplicate'),
            ('Phone', '12', 'bad_format'),
            ('Title', LONG, 'too_long'),
            ('Role', None, 'required'),
            ('Role', 'boss', 'not_allowed'),
            ('Departments', NOWHERE, 'not_found'),
            ('Sites', NOWHERE, 'not_found'),
            ('Language', 'no tag', 'bad_format'),
            ('Status', 'asleep', 'not_allowed'),
            ('Employee Number', LONG, 'too_long'),
            ('Hire Date', '2027-02-30', 'bad_format'),
            ('Password', '7 chars', 'out_of_range'),
        ],
    ),
    'Departments': (
        department(None, 'Department', Code='D1'),
        [
            ('Department ID', 'x' * 129, 'too_long'),
            ('Name', None, 'required'),
            ('Name', LONG, 'too_long'),
            ('Name', 'First', 'duplicate'),
            ('Code', LONG, 'too_long'),
            ('Email', 'nobody', 'bad_format'),
            ('Status', 'asleep', 'not_allowed'),
        ],
    ),
    'Sites': (
        site(None, 'Site', Latitude=1, Longitude=1),
        [
            ('Site ID', 'a.b', 'forbidden_character'),
            ('Name', None, 'required'),
            ('Name', LONG, 'too_long'),
            ('Name', 'First', 'duplicate'),
            ('Code', LONG, 'too_long'),
            ('Address', 'x' * 1001, 'too_long'),
            ('City', LONG, 'too_long'),
            ('Country', 'ZZ', 'not_allowed'),
            ('Latitude', 'north', 'bad_type'),
            ('Latitude', -90.5, 'out_of_range'),
            ('Latitude', 90.5, 'out_of_range'),
            ('Longitude', 'west', 'bad_type'),
            ('Longitude', -180.5, 'out_of_range'),
            ('Longitude', 180.5, 'out_of_range'),
            ('Time Zone', 'Mars/Olympus', 'not_allowed'),
            ('Site Group', LONG, 'too_long'),
            ('Departments', NOWHERE, 'not_found'),
            ('Status', 'asleep', 'not_allowed'),
        ],
    ),
    'Products': (
        {'Product ID': None, 'Name': 'Product', 'Category': 'dairy'},
        [
            ('Product ID', 'x' * 129, 'too_long'),
            ('Name', None, 'required'),
            ('Name', LONG, 'too_long'),
            ('Name', 'First', 'duplicate'),
            ('Category', LONG, 'too_long'),
        ],
    ),
    'SKUs': (
        {'SKU ID': None, 'Name': 'Box', 'Code': 'code', 'Product': 'First'},
        [
            ('SKU ID', 'x' * 129, 'too_long'),
            ('Name', None, 'required'),
            ('Name', LONG, 'too_long'),
            ('Code', None, 'required'),
            ('Code', LONG, 'too_long'),
            ('Code', 'First', 'duplicate'),
            ('Product', None, 'required'),
            ('Product', NOWHERE, 'not_found'),
        ],
    ),
    'Questionnaires': (
        {'Questionnaire ID': None, 'Title': 'Title', 'Questions': 'Is it so?'},
        [
            ('Questionnaire ID', 'a.b', 'forbidden_character'),
            ('Title', None, 'required'),
            ('Title', LONG, 'too_long'),
            ('Title', 'First', 'duplicate'),
            ('Type', 'quiz', 'not_allowed'),
            ('Questions', None, 'required'),
            ('Questions', 'x' * 1001, 'too_long'),
        ],
    ),
    'Schedules': (
        schedule(None, Sites='First'),
        [
            ('Schedule ID', 'x' * 129, 'too_long'),
            ('Title', None, 'required'),
            ('Title', LONG, 'too_long'),
            ('Questionnaire', NOWHERE, 'not_found'),
            ('Type', None, 'required'),
            ('Type', 'often', 'not_allowed'),
            ('Start Date', None, 'required'),
            ('Start Date', '2027-02-30', 'bad_format'),
            ('End Date', '2027-02-30', 'bad_format'),
            ('Start Time', None, 'required'),
            ('Start Time', '8 am', 'bad_format'),
            ('End Time', None, 'required'),
            ('End Time', '8 pm', 'bad_format'),
            ('Sites', None, 'required'),
            ('Sites', NOWHERE, 'not_found'),
            ('Users', 'nobody@example.com', 'not_found'),
            ('Departments', NOWHERE, 'not_found'),
            ('SKUs', NOWHERE, 'not_found'),
        ],
    ),
    'Issues': (
        {'Issue ID': None, 'Title': 'Door', 'Site': 'First'},
        [
            ('Issue ID', 'x' * 129, 'too_long'),
            ('Title', None, 'required'),
            ('Title', LONG, 'too_long'),
            ('Site', None, 'required'),
            ('Site', NOWHERE, 'not_found'),
            ('Assignee', 'nobody@example.com', 'not_found'),
            ('Priority', 'top', 'not_allowed'),
            ('Status', 'shut', 'not_allowed'),
            ('Due Date', '2027-02-30', 'bad_format'),
        ],
    ),
    'Non-Ops Days': (
        offday('organization', '2027-01-01'),
        [
            ('Scope', None, 'required'),
            ('Scope', 'galaxy', 'not_allowed'),
            ('Start Date', None, 'required'),
            ('Start Date', '2027-02-30', 'bad_format'),
            ('End Date', '2027-02-30', 'bad_format'),
            ('Name', None, 'required'),
            ('Name', LONG, 'too_long'),
        ],
    ),
}
NAMED = {'Users': 'Email', 'Departments': 'Name', 'Sites': 'Name', 'Products': 'Name', 'SKUs': 'Code', 'Questionnaires': 'Title'}


@case
def each_rule_of_a_column(world):
    sheets, wrong = {}, []
    for sheet, (good, cells) in EACH.items():
        names = dict(good, **({NAMED[sheet]: 'first@example.com' if sheet == 'Users' else 'First'} if sheet in NAMED else {}))
        headings = list(dict.fromkeys([*good, *(heading for heading, _, _ in cells)]))
        rows = [names]
        for heading, value, code in cells:
            row = dict(good)
            if sheet in NAMED:
                row[NAMED[sheet]] = f'n{len(rows)}@example.com' if sheet == 'Users' else f'n{len(rows)}'
            rows.append(dict(row, **{heading: value}))
            wrong.append(f'{sheet}!{oracle.column_name(headings.index(heading) + 1)}{len(rows) + 1} {code}')
        sheets[sheet] = [headings] + [[row.get(heading) for heading in headings] for row in rows]
    world.upload(sheets, wrong)


# --- schedules and days off ---------------------------------------------------------------------------------------------------------------


def totals(world, **want):
    for ident, total in want.items():
        world.has('main/schedulestatistics', ident, total=total)


@case
def days_on_which_schedules_occur(world):
    world.upload(
        {
            'Sites': [site('s1'), site('s2')],
            'Schedules': [
                schedule('once', Type='once', **{'End Date': None}),
                schedule('daily', **{'Start Date': '2028-02-27', 'End Date': '2028-03-01'}),  # a leap year: 4 days
                schedule(
                    'weekly', Type='weekly', Days='Mon, sun; mon', **{'Start Date': '2027-01-04', 'End Date': '2027-01-17'}
                ),  # 2 Mondays, 2 Sundays
                schedule(
                    'm31', Type='monthly', Days='31', **{'Start Date': '2027-01-01', 'End Date': '2027-12-31'}
                ),  # seven months have one
                schedule('m29', Type='monthly', Days=29, **{'Start Date': '2027-01-01', 'End Date': '2028-12-31'}),  # not in February 2027
                schedule('last', Type='monthly', Days='last', **{'Start Date': '2027-01-31', 'End Date': '2027-02-28'}),
                schedule(
                    'twice', Type='monthly', Days='28, last, 30', **{'Start Date': '2027-02-01', 'End Date': '2027-03-31'}
                ),  # 28 Feb once; 28, 30, 31 Mar
                schedule('sites', Sites='Site s1, Site s2'),
            ],
        }
    )
    totals(world, once=1, daily=4, weekly=4, m31=7, m29=23, last=2, twice=4, sites=14)
    world.has('main/schedulestatistics', 'once', _id='once', scheduleID='once', completed=0, missed=0)
    world.has('main/sitescheduleindexes', 'weekly', days=['mon', 'sun'], endDate='2027-01-17')
    world.has('main/sitescheduleindexes', 'twice', days=[28, 'last', 30])
    world.has('main/sitescheduleindexes', 'once', days=[], endDate=ABSENT)
    world.has('main/siteindexes', 's2', scheduleIDs=['sites'])


@case
def days_off_count_from_the_store_and_the_workbook(world):
    world.upload({'Sites': [site('s1'), site('s2')], 'Non-Ops Days': [offday('site', '2027-01-05', Reference='SITE S1')]})
    world.upload(
        {
            'Schedules': [schedule('c1', Sites='Site s1, Site s2'), schedule('c2', Type='once', **{'Start Date': '2027-01-10'})],
            'Non-Ops Days': [
                offday('organization', '2027-01-09', **{'End Date': '2027-01-12'}),
                offday('site', '2027-01-04', Reference='Site s1', **{'End Date': '2027-01-05'}),
            ],
        }
    )
    totals(world, c1=3 + 5, c2=0)


@case
def days_off_of_users_do_not_count(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Users': [user('u1')],
            'Schedules': [schedule('c1', Users='u1@example.com')],
            'Non-Ops Days': [offday('user', '2027-01-05', Reference='u1@example.com')],
        }
    )
    totals(world, c1=7)
    world.exactly(
        'main/useroffdays',
        'org1:u1',
        {
            '_id': 'org1:u1',
            'organizationID': 'org1',
            'userID': 'u1',
            'days': [{'startDate': '2027-01-05', 'endDate': '2027-01-05', 'name': 'Holiday'}],
        },
    )


@case
def statistics_of_schedules_in_the_upload_only(world):
    world.upload({'Sites': [site('s1')], 'Schedules': [schedule('c1'), schedule('c2')]})
    world.upload(
        {'Schedules': [schedule('c1')], 'Non-Ops Days': [offday('organization', '2027-01-05')]},
        counts={'schedules': '0 1 0', 'nonOpsDays': '1 0 0'},
        operations=2,
    )
    totals(world, c1=6, c2=7)


@case
def completed_and_missed_stay(world):
    world.seed(
        {
            'main/sites': {'s1': stored(siteID='s1', name='Site s1', departmentIDs=[], status='active')},
            'main/siteindexes': {'s1': stored(siteID='s1', name='Site s1', userIDs=[], departmentIDs=[], scheduleIDs=['c1'])},
            'main/sitescheduleindexes': {
                'c1': stored(
                    scheduleID='c1',
                    title='Round c1',
                    type='daily',
                    days=[],
                    startDate='2027-01-04',
                    endDate='2027-01-10',
                    startTime='08:00',
                    endTime='17:30',
                    siteIDs=['s1'],
                    userIDs=[],
                    departmentIDs=[],
                    skuIDs=[],
                )
            },
            'main/schedulestatistics': {'c1': stored(_id='c1', scheduleID='c1', total=7, completed=3, missed=1)},
        }
    )
    world.upload({'Schedules': [schedule('c1', **{'End Date': '2027-01-12'})]}, counts={'schedules': '0 1 0'}, operations=2)
    world.has('main/schedulestatistics', 'c1', total=9, completed=3, missed=1)


@case
def days_are_needed_where_they_count(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Schedules': [
                schedule('c1', Days='nonsense'),
                schedule('c2', Type='once', Days='mon'),
                schedule('c3', Type='weekly', Days=None),
                schedule('c4', Type='monthly', Days=None),
                schedule('c5', Type='weekly', Days='mon, funday'),
                schedule('c6', Type='monthly', Days='1, 32'),
                schedule('c7', Type='monthly', Days='mon'),
                schedule('c8', Type='often', Days='mon'),
            ],
        },
        [
            'Schedules!I4 required',
            'Schedules!I5 required',
            'Schedules!I6 not_allowed',
            'Schedules!I7 not_allowed',
            'Schedules!I8 not_allowed',
            'Schedules!C9 not_allowed',
        ],
    )
    world.says('not_allowed', 'funday')
    world.upload({'Sites': [site('s1')], 'Schedules': [schedule('c1', Days='nonsense'), schedule('c2', Type='once', Days='mon')]})
    world.has('main/sitescheduleindexes', 'c1', days=[])
    world.has('main/sitescheduleindexes', 'c2', days=[])


@case
def a_schedule_that_becomes_weekly_needs_days(world):
    world.upload({'Sites': [site('s1')], 'Schedules': [schedule('c1', Days=None)]})
    world.upload({'Schedules': [schedule('c1', Type='weekly', Days=None)]}, ['Schedules!I2 required'])
    world.upload({'Schedules': [schedule('c1', Type='weekly', Days='tue')]}, counts={'schedules': '0 1 0'}, operations=2)
    world.upload({'Schedules': [schedule('c1', Type='daily', Days=None)]}, counts={'schedules': '0 1 0'}, operations=2)
    world.has('main/sitescheduleindexes', 'c1', type='daily', days=[])


@case
def ends_before_starts(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Schedules': [
                schedule('c1', **{'End Date': '2027-01-03'}),
                schedule('c2', **{'End Date': None}),
                schedule('c3', **{'End Time': '08:00'}),
                schedule('c4', **{'Start Date': 'soon', 'End Date': '2020-01-01'}),
                schedule('c5', Type='once', **{'End Date': '2020-01-01'}),
                schedule('c6', **{'Start Date': '2027-01-10'}),
            ],
        },
        [
            'Schedules!E2 inconsistent',
            'Schedules!E3 required',
            'Schedules!G4 inconsistent',
            'Schedules!D5 bad_format',
            'Schedules!E6 inconsistent',
        ],
    )


@case
def a_schedule_leaves_a_site(world):
    world.upload({'Sites': [site('s1'), site('s2')], 'Schedules': [schedule('c1', Sites='Site s1')]})
    world.upload({'Schedules': [schedule('c1', Sites='Site s2')]}, counts={'schedules': '0 1 0'}, operations=3)
    world.has('main/siteindexes', 's1', scheduleIDs=[])
    world.has('main/siteindexes', 's2', scheduleIDs=['c1'])


@case
def days_off_are_merged_and_sorted(world):
    world.upload(
        {'Non-Ops Days': [offday('organization', DATE(2027, 5, 1), 'May'), offday('Organization', '2027-01-01', 'New Year')]},
        counts={'nonOpsDays': '2 0 0'},
        operations=1,
    )
    world.upload(
        {
            'Non-Ops Days': [
                offday('organization', '2027-03-01', 'March', **{'End Date': '2027-03-02'}),
                offday('organization', '2027-05-01', 'May'),
            ]
        },
        counts={'nonOpsDays': '1 0 1'},
        operations=1,
    )
    world.exactly(
        'settings/firestore:organization-offdays',
        'org1',
        {
            'organizationID': 'org1',
            'days': [
                {'startDate': '2027-01-01', 'endDate': '2027-01-01', 'name': 'New Year'},
                {'startDate': '2027-03-01', 'endDate': '2027-03-02', 'name': 'March'},
                {'startDate': '2027-05-01', 'endDate': '2027-05-01', 'name': 'May'},
            ],
        },
    )


@case
def references_of_days_off(world):
    world.upload(
        {
            'Sites': [site('s1')],
            'Users': [user('u1')],
            'Non-Ops Days': [
                offday('galaxy', '2027-01-01', Reference='x'),
                offday('site', '2027-01-01'),
                offday('organization', '2027-01-01', Reference='Site s1'),
                offday('site', '2027-01-01', Reference='u1@example.com'),
                offday('user', '2027-01-02', Reference='Site s1'),
                offday('user', '2027-01-02', Reference='u1@example.com', **{'End Date': '2027-01-01'}),
                offday('site', None, Reference='Site s1'),
            ],
        },
        [
            'Non-Ops Days!A2 not_allowed',
            'Non-Ops Days!B3 required',
            'Non-Ops Days!B4 inconsistent',
            'Non-Ops Days!B5 not_found',
            'Non-Ops Days!B6 not_found',
            'Non-Ops Days!D7 inconsistent',
            'Non-Ops Days!C8 required',
        ],
    )


# --- sheets and headings ------------------------------------------------------------------------------------------------------------------


@case
def headings_without_what_does_not_count(world):
    world.upload(
        {
            'non_ops-DAYS': [['SCOPE', 'start-date', 'NAME *'], ['organization', '2027-01-01', 'X']],
            ' users ': [['role*', ' E-mail* ', 'USER_ID', 'na me'], ['staff', 'u1@example.com', 'u1', 'Ann']],
        },
        warnings=[],
        counts={'users': '1 0 0', 'nonOpsDays': '1 0 0'},
    )
    world.has('main/users', 'u1', name='Ann', email='u1@example.com')


@case
def headings_stand_in_the_first_row_that_is_not_empty(world):
    world.upload(
        {
            'Products': [
                [None],
                [' '],
                [None, 'Product ID', 'Name'],
                [None, None, None],
                [None, 'p1', 'Milk'],
                [None, '  '],
                [None, 'p2', None],
            ]
        },
        ['Products!C7 required'],
    )
    world.upload(
        {'Products': [[None], [' '], [None, 'Product ID', 'Name'], [None, None, None], [None, 'p1', 'Milk']]}, counts={'products': '1 0 0'}
    )


@case
def hidden_sheets_are_read(world):
    world.upload(
        {
            'Products': [{'Product ID': 'p1', 'Name': 'P'}],
            'Departments': [department('d1')],
            'Lookups': [['x'], ['y']],
            'Allornone errors': [['Sheet'], ['Users']],
        },
        hidden=('Departments', 'Lookups'),
        warnings=[],
        counts={'departments': '1 0 0', 'products': '1 0 0'},
    )


@case
def unknown_sheets_and_columns_are_warnings(world):
    world.upload(
        {'Departmets': [['Name'], ['x']], 'Users': [user('u1', Favourite='tea', Titel='Cook')]},
        warnings=['Departmets unknown_sheet', 'Users!E1 unknown_column', 'Users!F1 unknown_column'],
    )


@case
def doubled_sheets_and_columns(world):
    world.upload(
        {'Non-Ops Days': [offday('organization', '2027-01-01')], 'NonOpsDays': [offday('organization', '2027-01-01')]},
        ['NonOpsDays!A1 duplicate'],
    )
    world.upload({'Products': [['Product ID', 'Name', 'NAME *'], ['p1', 'A', 'A']]}, ['Products!C1 duplicate'])


@case
def a_needed_column_is_missing(world):
    world.upload({'Users': [['User ID', 'Name', 'Role'], ['u1', 'Ann', 'staff'], ['u2', 'Ben', 'staff']]}, ['Users!A1 required'])
    world.says('required', 'Email')
    world.upload({'Users': [user('u1')]})
    world.upload({'Users': [['User ID', 'Title'], ['u1', 'Cook']]}, counts={'users': '0 1 0'}, operations=1)


@case
def no_known_sheet(world):
    world.upload({'Sheet1': [['Name'], ['x']]}, ['None bad_file'])


@case
def an_empty_sheet_is_skipped(world):
    world.upload({'Departments': [], 'Products': [{'Product ID': 'p1', 'Name': 'P'}]}, counts={'products': '1 0 0'})


# --- other forms of files -----------------------------------------------------------------------------------------------------------------

CSV = {
    'Sites': [site('s1', Latitude='38.5', Longitude='-9.25', Code='007')],
    'Schedules': [schedule('c1', Type='monthly', Days='1;15,last', **{'Start Date': '2027-01-01', 'End Date': '2027-01-31'})],
    'Questionnaires': [{'Questionnaire ID': 'q1', 'Title': 'a "quoted", title', 'Questions': 'One?\nTwo?'}],
}


def csv_outcome(world):
    world.has('main/sites', 's1', location={'latitude': 38.5, 'longitude': -9.25}, code='007')
    world.has('main/sitescheduleindexes', 'c1', days=[1, 15, 'last'])
    world.has('main/questionnaires', 'q1', title='a "quoted", title', questions=[{'text': 'One?'}, {'text': 'Two?'}])
    totals(world, c1=3)


@case
def a_folder_of_csv(world):
    world.upload(CSV, form='csv')
    csv_outcome(world)


@case
def a_folder_of_csv_with_semicolons_and_a_mark(world):
    world.upload(CSV, form='csv', delimiter=';', bom=True)
    csv_outcome(world)


@case
def a_zip_of_csv_with_tabs(world):
    world.upload(CSV, form='zip', delimiter='\t')
    csv_outcome(world)


@case
def csv_text_that_is_no_number(world):
    world.upload({'Sites': [site('s1', Latitude='1 000', Longitude='12,5')]}, ['Sites!C2 bad_type', 'Sites!D2 bad_type'], form='csv')


@case
def a_dry_run_changes_nothing(world):
    world.upload({'Products': [{'Product ID': 'p1', 'Name': 'P'}]}, options=('--dry-run',), counts={'products': '1 0 0'}, operations=1)
    world.lacks('main/products', 'p1')


# --- the workbooks that come with the specification ---------------------------------------------------------------------------------------


def given(world, name):
    return world.shared / 'workforce' / (name + '.xlsx')


MISTAKES = [
    'Users!C3 bad_format',
    'Users!F4 not_allowed',
    'Users!C6 duplicate',
    'Users!B7 required',
    'Users!G8 not_found',
    'Users!D9 bad_format',
    'Users!M10 out_of_range',
    'Sites!G2 out_of_range',
    'Sites!H3 required',
    'Sites!F4 bad_format',
    'Sites!I5 not_allowed',
    'Schedules!I2 inconsistent',
    'Schedules!G3 inconsistent',
    'Schedules!E4 not_allowed',
    'Schedules!J5 not_found',
    'Non-Ops Days!A2 not_allowed',
    'Non-Ops Days!B3 not_found',
]


def shared(function):
    function.shared = True
    return case(function)


@shared
def small(world):
    world.upload(
        given(world, 'small'),
        counts={'users': '15 0 0', 'departments': '4 0 0', 'sites': '6 0 0', 'schedules': '8 0 0', 'nonOpsDays': '5 0 0'},
    )
    by = {title: ident for ident, title in ((i, d['title']) for i, d in world.docs('main', 'sitescheduleindexes').items())}
    # Round 1: 6 January to 18 April 2027 is 103 days, less 12 January and 16 April. Round 5: 12 to 23 January less the 12th.
    # Round 3 at Lagos 1: 1 and 15 March, 31 March, 1 April, last of February (the 28th) from 20 February to 9 April.
    totals(world, **{by['Round 0']: 2, by['Round 1']: 101, by['Round 5']: 11, by['Round 3']: 5})
    ann = world.named('users', 'name', 'Ximena Zhang')
    world.has(
        'main/users',
        ann,
        email='user3.a@example.com',
        language='ja',
        siteIDs=[],
        departmentIDs=[world.named('departments', 'name', 'Food Safety')],
    )
    world.has('main/user_extension', ann, employeeNumber='E10003', hireDate='2023-09-21')


@shared
def full_twice(world):
    world.upload(
        given(world, 'full'),
        counts={
            'users': '60 0 0',
            'departments': '8 0 0',
            'sites': '20 0 0',
            'products': '6 0 0',
            'skus': '12 0 0',
            'questionnaires': '6 0 0',
            'schedules': '24 0 0',
            'issues': '6 0 0',
            'nonOpsDays': '15 0 0',
        },
    )
    by = {d['title']: i for i, d in world.docs('main', 'sitescheduleindexes').items()}
    # Round 1, two sites: 17 February to 20 March is 32 days, less 25 February. Round 15 at Chicago 1: 15 February, 3 to 18. Round 8: two sites.
    totals(world, **{by['Round 1']: 62, by['Round 15']: 1, by['Round 8']: 2})
    world.has(
        'main/sitegroups',
        world.named('sitegroups', 'name', 'North'),
        siteIDs=[world.named('sites', 'name', n) for n in ('Lisbon 1', 'Osaka 3')],
    )
    twice = [f'Users!C{row} duplicate' for row in range(2, 62)] + [f'Departments!B{row} duplicate' for row in range(2, 10)]
    twice += [f'Sites!B{row} duplicate' for row in range(2, 22)] + [f'Products!B{row} duplicate' for row in range(2, 8)]
    twice += [f'SKUs!C{row} duplicate' for row in range(2, 14)] + [f'Questionnaires!B{row} duplicate' for row in range(2, 8)]
    world.upload(given(world, 'full'), twice)


@shared
def with_ids_and_the_second_upload(world):
    world.upload(given(world, 'with-ids'))
    world.upload(given(world, 'with-ids-second-upload'))
    world.has('main/users', 'usr00000', phone=ABSENT)
    world.has('main/users', 'usr00001', title='Promoted', role='manager')
    world.has('main/sites', 'site00000', address='1 New Address')


@shared
def with_ids_twice(world):
    world.upload(given(world, 'with-ids'), operations=None)
    world.upload(
        given(world, 'with-ids'), operations=0, counts={'users': '0 0 40', 'sites': '0 0 12', 'schedules': '0 0 12', 'nonOpsDays': '0 0 9'}
    )


@shared
def mistakes(world):
    world.upload(given(world, 'mistakes'), MISTAKES)
    world.silent_about('"short"')


@shared
def large(world):
    world.upload(given(world, 'large'), counts={'users': '6000 0 0', 'sites': '600 0 0', 'schedules': '800 0 0'})


def check_tables():
    """The oracle's own tables: what a slip of the pen would break unseen."""
    assert len(oracle.COUNTRIES) == 249, len(oracle.COUNTRIES)
    assert oracle.encode('dept1', 'org1') == 'dept1:org1' and oracle.encode('a:b%') == 'a%3Ab%25'
    assert oracle.plain(' Non-Ops_DAYS * ') == 'nonopsdays'
    assert oracle.entries('a; B,,b , c') == ['a', 'B', 'c']
    assert oracle.column_name(1) == 'A' and oracle.column_name(28) == 'AB'
