-- A results table as schema version 1 wrote it, in mid-batch: of seven rows five were sent.
BEGIN TRANSACTION;
CREATE TABLE attempts (
	token VARCHAR NOT NULL, 
	batch VARCHAR NOT NULL, 
	row_key VARCHAR NOT NULL, 
	run_id VARCHAR NOT NULL, 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	outcome VARCHAR, 
	http_status INTEGER, 
	message TEXT, 
	raw_body TEXT, 
	video_id VARCHAR, 
	credits_reserved INTEGER NOT NULL, 
	credits_charged INTEGER, 
	credits_final INTEGER, 
	PRIMARY KEY (token)
);
INSERT INTO "attempts" VALUES('rb_a5d05413b788ab2fcb59','spring','done-url','e8f0e9e98243','2026-11-26 21:51:19.154742','2026-11-26 21:51:19.389517','submitted',200,NULL,NULL,'c207ccf19c67895db74a88fa7',48,48,48);
INSERT INTO "attempts" VALUES('rb_bf972f5063505f2fbfa2','spring','failed','e8f0e9e98243','2026-11-26 21:51:19.155141','2026-11-26 21:51:19.407170','submitted',200,NULL,NULL,'cea2bcd7a419cb2ced0aa75b7',48,48,48);
INSERT INTO "attempts" VALUES('rb_9c499c2ca5ed3078e140','spring','refused','e8f0e9e98243','2026-11-26 21:51:19.155286','2026-11-26 21:51:19.407600','rejected',422,'style.prompt: this prompt can''t be used',NULL,NULL,48,NULL,NULL);
INSERT INTO "attempts" VALUES('rb_f651df91b70a05bb9974','spring','doubtful','e8f0e9e98243','2026-11-26 21:51:19.155411','2026-11-26 21:51:19.408447','in_doubt',NULL,'no answer came after the request was sent (RemoteProtocolError: Server disconnected without sending a response.); it may have been charged',NULL,NULL,48,NULL,NULL);
INSERT INTO "attempts" VALUES('rb_a29568b3cc967d68a8a8','spring','done-local','e8f0e9e98243','2026-11-26 21:51:19.436561','2026-11-26 21:51:19.446252','submitted',200,NULL,NULL,'c855a8fca892b0ce9cbd43a1c',48,48,48);
CREATE TABLE batches (
	batch VARCHAR NOT NULL, 
	api VARCHAR NOT NULL, 
	base TEXT NOT NULL, 
	committed BIGINT DEFAULT 0 NOT NULL, 
	created_at DATETIME NOT NULL, 
	PRIMARY KEY (batch)
);
INSERT INTO "batches" VALUES('spring','local','/catalogue',192,'2026-11-26 21:51:19.057729');
CREATE TABLE decisions (
	decision INTEGER NOT NULL, 
	decided_at DATETIME NOT NULL, 
	decided_by VARCHAR NOT NULL, 
	batch VARCHAR NOT NULL, 
	row_key VARCHAR NOT NULL, 
	token VARCHAR NOT NULL, 
	verdict VARCHAR NOT NULL, 
	video_id VARCHAR, 
	PRIMARY KEY (decision)
);
CREATE TABLE reelbatch_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "reelbatch_schema" VALUES(1);
CREATE TABLE results (
	batch VARCHAR NOT NULL, 
	row_key VARCHAR NOT NULL, 
	row_number INTEGER NOT NULL, 
	image_path TEXT NOT NULL, 
	prompt TEXT, 
	model VARCHAR, 
	resolution VARCHAR, 
	end_seconds FLOAT, 
	audio BOOLEAN, 
	name TEXT, 
	state VARCHAR NOT NULL, 
	video_id VARCHAR, 
	estimated_frame_cost INTEGER, 
	credits_estimated INTEGER, 
	credits_charged INTEGER, 
	credits_final INTEGER, 
	fps FLOAT, 
	width INTEGER, 
	height INTEGER, 
	error_code VARCHAR, 
	error_message TEXT, 
	attempts INTEGER DEFAULT 0 NOT NULL, 
	token VARCHAR, 
	run_id VARCHAR, 
	submitted_at DATETIME, 
	settled_at DATETIME, 
	video_path TEXT, 
	end_image_path TEXT, 
	request_width INTEGER, 
	request_height INTEGER, 
	fingerprint VARCHAR NOT NULL, 
	listed BOOLEAN NOT NULL, 
	rerun_wanted BOOLEAN DEFAULT false NOT NULL, 
	due_at DATETIME, 
	PRIMARY KEY (batch, row_key), 
	CONSTRAINT state_is_known CHECK (state IN ('invalid', 'pending', 'claimed', 'sending', 'queued', 'rendering', 'complete', 'error', 'canceled', 'rejected', 'in_doubt')), 
	CONSTRAINT id_is_known CHECK (video_id IS NOT NULL OR state NOT IN ('queued', 'rendering', 'complete'))
);
INSERT INTO "results" VALUES('spring','done-local',1,'images/teapot.jpg','Pan over the teapot','ltx-2.3','480p',2.0,NULL,NULL,'complete','c855a8fca892b0ce9cbd43a1c',48,48,48,48,30.0,320,180,NULL,NULL,1,'rb_a29568b3cc967d68a8a8','e8f0e9e98243','2026-11-26 21:51:19.446252','2026-11-26 21:51:20.850846',NULL,NULL,NULL,NULL,'751757349e31a2f9689ede77cc50dbee46276debff72dd039eaae4b807fcf406',1,0,NULL);
INSERT INTO "results" VALUES('spring','done-url',2,'https://images.example.com/1.png','Pan 1','ltx-2.3','480p',2.0,NULL,NULL,'complete','c207ccf19c67895db74a88fa7',48,48,48,48,30.0,320,180,NULL,NULL,1,'rb_a5d05413b788ab2fcb59','e8f0e9e98243','2026-11-26 21:51:19.389517','2026-11-26 21:51:20.851663',NULL,NULL,NULL,NULL,'a34044e7c4b1c0fd9841a1bfae437466bca7fa88a5c75bc9c4439ae8290b8720',1,0,NULL);
INSERT INTO "results" VALUES('spring','failed',3,'https://images.example.com/2.png','Pan 2 fails','ltx-2.3','480p',2.0,NULL,NULL,'complete','cea2bcd7a419cb2ced0aa75b7',48,48,48,48,30.0,320,180,NULL,NULL,1,'rb_bf972f5063505f2fbfa2','e8f0e9e98243','2026-11-26 21:51:19.407170','2026-11-26 21:51:20.851377',NULL,NULL,NULL,NULL,'492a821bb4d6fa739b8673290c44b52e3e85e3e791cf3483371bc5e54b2b4fb6',1,0,NULL);
INSERT INTO "results" VALUES('spring','refused',4,'https://images.example.com/3.png','Pan 3 refused','ltx-2.3','480p',2.0,NULL,NULL,'rejected',NULL,NULL,48,NULL,NULL,NULL,NULL,NULL,'http_422','style.prompt: this prompt can''t be used',1,'rb_9c499c2ca5ed3078e140','e8f0e9e98243',NULL,NULL,NULL,NULL,NULL,NULL,'2c4d55270ae93a9cefee2599757553238f8e49af19e29d70fc04e8c8c77325ff',1,0,NULL);
INSERT INTO "results" VALUES('spring','doubtful',5,'https://images.example.com/4.png','Pan 4 lost','ltx-2.3','480p',2.0,NULL,NULL,'in_doubt',NULL,NULL,48,NULL,NULL,NULL,NULL,NULL,'connection_lost','no answer came after the request was sent (RemoteProtocolError: Server disconnected without sending a response.); it may have been charged',1,'rb_f651df91b70a05bb9974','e8f0e9e98243',NULL,NULL,NULL,NULL,NULL,NULL,'c6a92f815f44de51afe19176ce411117b342aa5d5abfcb8d2150873ee2f6b0ad',1,0,NULL);
INSERT INTO "results" VALUES('spring','waiting',6,'https://images.example.com/5.png','Pan 5','ltx-2.3','480p',2.0,NULL,NULL,'pending',NULL,NULL,48,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'d3435d50e52b3832d0092d81c3523a733bb6969ab545ea64402c90cbbfa13daf',1,0,NULL);
INSERT INTO "results" VALUES('spring','rendering',7,'https://images.example.com/6.png','Pan 6','ltx-2.3','480p',2.0,NULL,NULL,'pending',NULL,NULL,48,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'dc6671c9f3886dddc10d46234ce9385d35982d875439d4bdec0d50f1467dba89',1,0,NULL);
CREATE TABLE runs (
	run_id VARCHAR NOT NULL, 
	batch VARCHAR NOT NULL, 
	command VARCHAR NOT NULL, 
	host VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	pid_started FLOAT NOT NULL, 
	user_name VARCHAR NOT NULL, 
	started_at DATETIME NOT NULL, 
	heartbeat_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	max_credits BIGINT, 
	reserved BIGINT DEFAULT 0 NOT NULL, 
	spent BIGINT DEFAULT 0 NOT NULL, 
	exit_reason VARCHAR, 
	PRIMARY KEY (run_id)
);
INSERT INTO "runs" VALUES('e8f0e9e98243','spring','generate','laptop',19202,52616.46,'anna','2026-11-26 21:51:18.296188','2026-11-26 21:51:20.879314','2026-11-26 21:51:20.879314',NULL,48,144,'done');
CREATE TABLE uploads (
	api VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	file_path VARCHAR NOT NULL, 
	bytes BIGINT NOT NULL, 
	uploaded_at DATETIME NOT NULL, 
	run_id VARCHAR NOT NULL, 
	PRIMARY KEY (api, sha256)
);
INSERT INTO "uploads" VALUES('http://127.0.0.1:40463','6c613d07f6c29c5805f3cb277ec7273d6e2a6f1364f8368af25161022ce90119','api-assets/sandbox/88d62edbf578f09774ab3e0e4bbc3bb0.jpg',31889,'2026-11-26 21:51:19.433313','e8f0e9e98243');
CREATE INDEX results_pending ON results (batch, row_number) WHERE state = 'pending';
CREATE INDEX results_token ON results (token) WHERE token IS NOT NULL;
CREATE INDEX results_due ON results (batch, due_at) WHERE state IN ('queued', 'rendering');
CREATE INDEX results_held ON results (run_id) WHERE state IN ('claimed', 'sending');
CREATE INDEX results_state ON results (batch, state);
CREATE INDEX attempts_row ON attempts (batch, row_key);
CREATE INDEX runs_open ON runs (heartbeat_at) WHERE ended_at IS NULL;
COMMIT;
